# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
"""What a series is held to before it is mailed, and how it is mailed."""
