// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// sockrepair show: an image for people and for scripts.

#include <errno.h>

#include <iostream>

#include "command.h"
#include "open_image.h"
#include "sockrepair/image_show.h"

namespace sockrepair::tool {

int run_show(const ShowCommand& command) {
  Result<ImageReader> reader = open_image(command.file);
  if (!reader) return fail(reader.error(), image_status(reader.error()));
  Result<void> shown = command.json ? show_json(*reader, std::cout) : show_text(*reader, std::cout);
  std::cout.flush();
  if (!shown) return fail(shown.error(), image_status(shown.error()));
  return std::cout ? kDone : fail(Error{EIO, "write(stdout)"});
}

}  // namespace sockrepair::tool
