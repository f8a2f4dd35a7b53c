// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TOOLS_LOSSES_H_
#define SOCKREPAIR_TOOLS_LOSSES_H_

#include <string>
#include <vector>

#include "sockrepair/error.h"

namespace sockrepair::tool {

// "descriptor 5", "descriptors 5, 7", "descriptors 4-9, 11". In any order; not empty.
std::string numbers_text(std::vector<int> numbers);

// What is lost, and of which sockets. For a program each of them is told, for a person each cause:
// of a thousand connections most lose the same.
class Losses {
 public:
  // Of a socket, by the numbers of its descriptors or by a name, or both.
  void add(std::vector<int> numbers, std::string name, std::string what);
  // Of something else; `what` says of what.
  void add(std::string what);

  bool empty() const { return all_.empty(); }
  // What --strict makes of them. Precondition: not empty().
  Error strict_error() const;

  // "descriptor 5 (10.0.0.1:80): WHAT", in the order of add().
  std::vector<std::string> each() const;
  // The same, and "1000 sockets, descriptors 4-1003: WHAT" for all that lose the same, where the
  // first of them would be.
  std::vector<std::string> by_cause() const;

 private:
  struct One {
    std::vector<int> numbers;
    std::string name;
    std::string what;

    bool of_socket() const { return !numbers.empty() || !name.empty(); }
    std::string text() const;
  };

  std::vector<One> all_;
};

}  // namespace sockrepair::tool

#endif  // SOCKREPAIR_TOOLS_LOSSES_H_
