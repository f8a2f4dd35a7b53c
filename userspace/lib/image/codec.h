// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_LIB_IMAGE_CODEC_H_
#define SOCKREPAIR_LIB_IMAGE_CODEC_H_

#include <google/protobuf/message.h>

#include <optional>
#include <string>

#include "image/tables.h"
#include "image/wire.h"

// Values into protobuf messages and back, as the tables say.
namespace sockrepair::internal {

// A value that is not what its row or a rule allows.
struct FieldProblem {
  FieldPath path;
  int code;  // EMSGSIZE: too long or too many; EINVAL: anything else
  // "70000, must be 0 to 65535"
  std::string what;
};

// The members of `value` into fields of `message`, which is a Table<Struct>::Message. Does not
// check anything. Instantiated in codec.cc for every Struct that has a table.
template <typename Struct>
void encode(const Struct& value, google::protobuf::Message* message);

// The fields of `message` into the members of `value` that have a row; the others stay. Checks
// limits and rules, and stops at the first problem.
template <typename Struct>
std::optional<FieldProblem> decode(const google::protobuf::Message& message, Struct* value);

}  // namespace sockrepair::internal

#endif  // SOCKREPAIR_LIB_IMAGE_CODEC_H_
