// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_IMAGE_SHOW_H_
#define SOCKREPAIR_IMAGE_SHOW_H_

#include <iosfwd>

#include "sockrepair/export.h"
#include "sockrepair/image.h"
#include "sockrepair/result.h"

// An image for people and for programs; what `sockrepair show` prints.
namespace SOCKREPAIR_EXPORT sockrepair {

// One block of lines for each socket, under a line for its process. Text out of the image (the name
// of a process, what was lost) is printed with anything but printable ASCII as \xNN.
//
// Both functions read the image from its beginning to its end, with one socket in memory at a time.
// What was printed before an error stays printed. EIO: `out` failed; it must not be one that throws
// (std::ios::exceptions()).
Result<void> show_text(ImageReader& reader, std::ostream& out);

// One JSON document. The keys are in Documentation/image.md and stay what they are; later versions
// may add some. Bytes are strings of lower-case hex digits. A member that is not given, or not
// known, is not there.
Result<void> show_json(ImageReader& reader, std::ostream& out);

}  // namespace sockrepair

#endif  // SOCKREPAIR_IMAGE_SHOW_H_
