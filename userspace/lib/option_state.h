// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_LIB_OPTION_STATE_H_
#define SOCKREPAIR_LIB_OPTION_STATE_H_

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "option_codec.h"
#include "sockrepair/socket_options.h"

struct tcp_info;

// What is known about the options of a socket without asking for them: most of the time of a
// restore would go into such questions.
namespace sockrepair::internal {

// What socket(2) was called with. It decides which rows of the table a socket has.
struct SocketKind {
  int domain = 0;
  int type = 0;
  int protocol = 0;

  static Result<SocketKind> of(int fd);
  bool has(const SocketOption& row) const;

  bool operator==(const SocketKind&) const = default;
};

// The value of a row as it can be set on another socket.
OptionReadResult read_option(int fd, const SocketKind& kind, const SocketOption& row);

// Everything that can be read. With `info`, TCP_INFO of a moment ago, what that tells already is
// not asked for.
Result<OptionsRead> read_options(int fd, const SocketKind& kind, const tcp_info* info);

// What the options of a new socket are: one of one kind, of this thread in its network namespace.
// That changes when somebody sets a net.* sysctl. A value.
class FreshOptions {
 public:
  // Makes a socket and reads all of it.
  static Result<FreshOptions> learn(const SocketKind& kind);

  const SocketKind& kind() const { return kind_; }
  // Of a row that the kind has.
  const OptionReadResult& of(const SocketOption& row) const;

 private:
  SocketKind kind_;
  std::vector<std::optional<OptionReadResult>> rows_;  // as in socket_options()
};

// The place of a row in socket_options().
std::size_t index_of(const SocketOption& row);

// Finds values by their rows. Has no more than pointers to `values`.
class OptionIndex {
 public:
  explicit OptionIndex(std::span<const OptionValue> values);

  // nullptr: there is none.
  const OptionBytes* of(const SocketOption& row) const { return rows_[index_of(row)]; }

 private:
  std::vector<const OptionBytes*> rows_;
};

// Whether `other` can read differently after `row` was set.
bool has_influence(const SocketOption& row, const SocketOption& other);

// A socket on its way from new to restored.
class OptionState {
 public:
  // `fresh`: how it began, of the same kind; nullptr: not known. Has to be there as long as this
  // object.
  OptionState(int fd, const SocketKind& kind, const FreshOptions* fresh);

  int fd() const { return fd_; }
  const SocketKind& kind() const { return kind_; }

  // The value that the row has now; asked for if nothing else tells.
  OptionReadResult current(const SocketOption& row) const;
  // Whether that is `value`, as far as it is known without asking.
  bool is_known_to_be(const SocketOption& row, const OptionBytes& value) const;
  // The value without asking; nothing: not known.
  std::optional<OptionBytes> known(int level, int name) const;

  // The row was set, also without success.
  void written(const SocketOption& row);
  // There is a connection now, which has its own idea of some rows.
  void connected();

  // Whether somebody has to look if the row has the value that it was last known to have: it was
  // set, or another one that has influence on it.
  bool is_in_doubt(const SocketOption& row) const;

 private:
  int fd_;
  SocketKind kind_;
  const FreshOptions* fresh_;
  std::vector<bool> changed_;  // since it was new
  std::vector<bool> in_doubt_;
};

// apply_socket_options() to this socket; `values` are checked.
Result<std::vector<Loss>> apply_options(OptionState& state, const OptionIndex& values,
                                        const ApplyOptions& how);

}  // namespace sockrepair::internal

#endif  // SOCKREPAIR_LIB_OPTION_STATE_H_
