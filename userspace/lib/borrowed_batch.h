// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_LIB_BORROWED_BATCH_H_
#define SOCKREPAIR_LIB_BORROWED_BATCH_H_

#include <span>

#include "sockrepair/batch.h"
#include "sockrepair/result.h"

namespace sockrepair::internal {

// restore_sockets() of values that are not side by side. None is nullptr, and all of them have to
// be there until the function returns. May throw bad_alloc.
Result<BatchReport> restore_borrowed(std::span<const AnySocket* const> sockets,
                                     const RestoreBatchOptions& options, const RestoreSink& sink);

}  // namespace sockrepair::internal

#endif  // SOCKREPAIR_LIB_BORROWED_BATCH_H_
