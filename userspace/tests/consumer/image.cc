// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// Likewise with the library for images: fails to open one that does not exist, as it should.

#include <errno.h>
#include <stdio.h>

#include "sockrepair/image.h"

int main() {
  sockrepair::Result<sockrepair::ImageReader> reader =
      sockrepair::ImageReader::open("/nonexistent/image");
  if (reader.ok() || reader.error().code != ENOENT) return 1;
  puts(reader.error().describe().c_str());
  return 0;
}
