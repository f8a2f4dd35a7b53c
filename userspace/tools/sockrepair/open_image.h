// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TOOLS_OPEN_IMAGE_H_
#define SOCKREPAIR_TOOLS_OPEN_IMAGE_H_

#include <errno.h>
#include <unistd.h>

#include <string>

#include "command.h"
#include "sockrepair/image.h"

namespace sockrepair::tool {

// The image `file`; "-" is stdin.
inline Result<ImageReader> open_image(const std::string& file,
                                      const ImageReaderOptions& options = {}) {
  return file == "-" ? ImageReader::from_descriptor(STDIN_FILENO, options)
                     : ImageReader::open(file, options);
}

// The exit status for an error of ImageReader: the image's fault or that of a call.
inline int image_status(const Error& error) {
  return error.code == EBADMSG || error.code == ENOTSUP ? kBadImage : kFailed;
}

}  // namespace sockrepair::tool

#endif  // SOCKREPAIR_TOOLS_OPEN_IMAGE_H_
