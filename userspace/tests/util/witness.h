// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TESTS_UTIL_WITNESS_H_
#define SOCKREPAIR_TESTS_UTIL_WITNESS_H_

#include <linux/types.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "../../bpf/witness.h"
#include "sockrepair/address.h"
#include "sockrepair/fd.h"
#include "sockrepair/result.h"

// A witness that trusts no socket option: BPF programs read what the kernel holds for a UDP socket
// out of its own structures, and count calls of kernel functions. Needs root and a kernel with BTF.
//
//   Result<Witness> witness = Witness::load();
//   Result<Sighting> before = witness->look(socket);
//   ...
//   EXPECT_THAT(datagram_differences(before->snapshot, after->snapshot), IsEmpty());
//
// A difference reads "cork_mark: 00000007, not 00000008" (hexadecimal, as the number is written).
//
// One object is for one thread, and a socket must be quiet while it is looked at: nothing is
// locked.
namespace sockrepair::test {

// What the witness saw of a socket at one time.
struct Sighting {
  witness_snapshot snapshot;
  witness_raw raw;
};

// One row of the tables in bpf/witness.h.
struct WitnessField {
  const char* name;
  const char* rule;
  std::size_t offset;  // in witness_snapshot
  std::size_t size;
  bool v4;  // datagrams of which family have it
  bool v6;

  bool applies_to(Family family) const { return family == Family::kIpv4 ? v4 : v6; }
};
const std::vector<WitnessField>& witness_fields();

// The value of a field as it appears in a difference: hexadecimal digits. Precondition: `name` is
// one of witness_fields().
std::string field_text(const witness_snapshot& snapshot, std::string_view name);

// Times that each function of WITNESS_CALLS was entered, by its name.
using CallCounts = std::map<std::string, std::uint64_t>;

class Witness {
 public:
  static Result<Witness> load();
  Witness(Witness&&) noexcept;
  Witness& operator=(Witness&&) noexcept;
  ~Witness();

  // The UDP socket that is descriptor `fd` of the calling thread. ENOTSOCK if there is none.
  Result<Sighting> look(int fd);

  // What this process entered since load(). All rows are there, also those that are 0.
  CallCounts calls() const;

 private:
  struct State;
  explicit Witness(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// One line for each field in which the datagram under construction on a second socket is not what
// the one on a first would become by a dump and a restore. `one_copy`: the original was appended
// in one piece and copied, so that the two must be equal in memory too.
std::vector<std::string> datagram_differences(const witness_snapshot& original,
                                              const witness_snapshot& restored,
                                              bool one_copy = false);

// One line for each place in which the memory of one socket, looked at twice, changed: socket,
// skbs, reference counts of pages, route and completions.
std::vector<std::string> memory_changes(const witness_raw& before, const witness_raw& after);

}  // namespace sockrepair::test

#endif  // SOCKREPAIR_TESTS_UTIL_WITNESS_H_
