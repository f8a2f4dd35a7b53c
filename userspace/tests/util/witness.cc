// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "util/witness.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <utility>

#include "try.h"
#include "util/task_file_iterator.h"
#include "witness.skel.h"

namespace sockrepair::test {

namespace {

// Bits of inet_cork.flags.
constexpr __u32 kCorkOpt = 1;
constexpr __u32 kCorkTsOptId = 2;

// A field as bytes in memory.
struct Bytes {
  const unsigned char* data;
  std::size_t size;

  bool operator==(const Bytes& other) const {
    return size == other.size && memcmp(data, other.data, size) == 0;
  }
};

struct Comparison {
  const witness_snapshot& original;
  const witness_snapshot& restored;
  bool one_copy;
};

// ------------------------------------------------------------------------------------------ rules
//
// A rule says whether a field of the restored datagram is what that of the original entails.

using Rule = bool (*)(const Comparison&, Bytes original, Bytes restored);

bool rule_SAME(const Comparison&, Bytes original, Bytes restored) {
  return original == restored;
}

// The number of its time stamps is given explicitly to a restored datagram, also when the original
// had taken it from the socket's counter. An empty list of options stands for none.
bool rule_CORK_FLAGS(const Comparison& c, Bytes, Bytes) {
  __u32 original = c.original.cork_flags;
  __u32 restored = c.restored.cork_flags;
  if (c.original.skb_tx_flags != 0) original |= restored & kCorkTsOptId;
  if (c.restored.cork_opt.present && c.restored.cork_opt.data[8] == 0)
    original |= restored & kCorkOpt;
  return original == restored;
}

// Used for options only, and left over from an earlier datagram without them.
bool rule_WITH_OPTIONS(const Comparison& c, Bytes original, Bytes restored) {
  return (c.original.cork_flags & kCorkOpt) == 0 || original == restored;
}

// Used only if the flag is set; a restored datagram then carries the number of the original, and
// that is what its first skb has.
bool rule_TS_OPT_ID(const Comparison& c, Bytes original, Bytes restored) {
  if ((c.original.cork_flags & kCorkTsOptId) != 0) return original == restored;
  if ((c.restored.cork_flags & kCorkTsOptId) != 0)
    return c.restored.cork_ts_opt_id == c.original.skb_tskey;
  return true;
}

// A restored datagram is one copied piece, whatever the original was.
bool rule_ONE_COPY(const Comparison& c, Bytes original, Bytes restored) {
  return !c.one_copy || original == restored;
}

// An empty list of options stands for none. optlen is the ninth byte of struct ip_options.
bool rule_IP_OPTIONS(const Comparison& c, Bytes original, Bytes restored) {
  bool none = !c.original.cork_opt.present || c.original.cork_opt.data[8] == 0;
  if (none) return !c.restored.cork_opt.present || c.restored.cork_opt.data[8] == 0;
  return original == restored;
}

// The lookup of a route writes the loopback device here, whatever the route. A connected socket
// looked up its route before the datagram.
bool rule_LOOKUP_IIF(const Comparison& c, Bytes original, Bytes restored) {
  constexpr __s32 kLoopback = 1;
  return original == restored || (c.original.fl6_iif == 0 && c.restored.fl6_iif == kLoopback);
}

// ------------------------------------------------------------------------------------------ table

enum class Applies { ANY, V4, V6 };

struct Row {
  const char* name;
  std::size_t offset;
  std::size_t size;
  Applies applies;
  const char* rule_name;
  Rule rule;
  Bytes (*bytes)(const witness_snapshot&);
};

template <typename T>
Bytes bytes_of(const T& field) {
  return Bytes{reinterpret_cast<const unsigned char*>(&field), sizeof(field)};
}

Bytes bytes_of(const witness_blob& blob) {
  // With `present` and `len`, which precede the data.
  return Bytes{reinterpret_cast<const unsigned char*>(&blob),
               offsetof(witness_blob, data) + blob.len};
}

Bytes bytes_of(const witness_payload& payload) {
  return Bytes{payload.data, payload.len};
}

constexpr Row kRows[] = {
#define WITNESS_ROW(name, family, rule) \
  {#name,                               \
   offsetof(witness_snapshot, name),    \
   sizeof(witness_snapshot::name),      \
   Applies::family,                     \
   #rule,                               \
   rule_##rule,                         \
   [](const witness_snapshot& s) { return bytes_of(s.name); }},
#define WITNESS_MEMBER(base, type, name, family, rule, ...) WITNESS_ROW(name, family, rule)
    WITNESS_FIELDS(WITNESS_MEMBER) WITNESS_BITFIELDS(WITNESS_MEMBER) WITNESS_BLOBS(WITNESS_ROW)
#undef WITNESS_MEMBER
        WITNESS_ROW(skb_len, ANY, SAME) WITNESS_ROW(payload, ANY, SAME)
#undef WITNESS_ROW
};

bool applies(const Row& row, const witness_snapshot& original) {
  switch (row.applies) {
    case Applies::ANY:
      return true;
    case Applies::V4:
      return original.pending == AF_INET;
    case Applies::V6:
      return original.pending == AF_INET6;
  }
  return true;
}

std::string hex(Bytes bytes) {
  // Whole numbers with the highest digit first, anything else in the order of memory.
  bool number = bytes.size <= 8;
  std::string text;
  for (std::size_t i = 0; i < bytes.size; ++i) {
    char digits[3];
    snprintf(digits, sizeof(digits), "%02x", bytes.data[number ? bytes.size - 1 - i : i]);
    text += digits;
  }
  return text;
}

// --------------------------------------------------------------------------------------- changes

void add_changes(const std::string& name, const void* before, const void* after, std::size_t size,
                 std::vector<std::string>* changes) {
  const unsigned char* a = static_cast<const unsigned char*>(before);
  const unsigned char* b = static_cast<const unsigned char*>(after);
  for (std::size_t at = 0; at < size;) {
    std::size_t end = at;
    while (end < size && a[end] != b[end]) ++end;
    if (end > at) {
      changes->push_back(name + " at byte " + std::to_string(at) + ": " + hex({b + at, end - at}) +
                         ", was " + hex({a + at, end - at}));
    }
    at = end + 1;
  }
}

}  // namespace

const std::vector<WitnessField>& witness_fields() {
  static const std::vector<WitnessField> fields = [] {
    std::vector<WitnessField> all;
    for (const Row& row : kRows)
      all.push_back({row.name, row.rule_name, row.offset, row.size, row.applies != Applies::V6,
                     row.applies != Applies::V4});
    return all;
  }();
  return fields;
}

std::string field_text(const witness_snapshot& snapshot, std::string_view name) {
  for (const Row& row : kRows)
    if (row.name == name) return hex(row.bytes(snapshot));
  fprintf(stderr, "the witness has no field '%.*s'\n", static_cast<int>(name.size()), name.data());
  abort();
}

std::vector<std::string> datagram_differences(const witness_snapshot& original,
                                              const witness_snapshot& restored, bool one_copy) {
  std::vector<std::string> differences;
  Comparison comparison{original, restored, one_copy};
  for (const Row& row : kRows) {
    if (!applies(row, original)) continue;
    Bytes a = row.bytes(original);
    Bytes b = row.bytes(restored);
    if (!row.rule(comparison, a, b))
      differences.push_back(std::string(row.name) + ": " + hex(b) + ", not " + hex(a));
  }
  return differences;
}

std::vector<std::string> memory_changes(const witness_raw& before, const witness_raw& after) {
  std::vector<std::string> changes;
  add_changes("number of skbs", &before.skbs, &after.skbs, sizeof(before.skbs), &changes);
  add_changes("references to the route", &before.dst_refs, &after.dst_refs, sizeof(before.dst_refs),
              &changes);
  add_changes("struct udp_sock", before.sock, after.sock, sizeof(before.sock), &changes);
  for (std::size_t i = 0; i < WITNESS_MAX_SKBS; ++i) {
    std::string skb = "skb " + std::to_string(i);
    const witness_raw_skb& a = before.skb[i];
    const witness_raw_skb& b = after.skb[i];
    add_changes(skb, a.skb, b.skb, sizeof(a.skb), &changes);
    add_changes(skb + " shared info", a.shinfo, b.shinfo, sizeof(a.shinfo), &changes);
    add_changes(skb + " page references", a.page_refs, b.page_refs, sizeof(a.page_refs), &changes);
    add_changes(skb + " completion references", &a.ubuf_refs, &b.ubuf_refs, sizeof(a.ubuf_refs),
                &changes);
  }
  return changes;
}

// ---------------------------------------------------------------------------------------- loading

struct Witness::State {
  // `iterator` goes first.
  std::unique_ptr<witness_bpf, void (*)(witness_bpf*)> skeleton;
  TaskFileIterator iterator;

  explicit State(witness_bpf* loaded)
      : skeleton(loaded, witness_bpf__destroy), iterator(loaded->progs.witness_read) {}
};

Witness::Witness(std::unique_ptr<State> state) : state_(std::move(state)) {}
Witness::Witness(Witness&&) noexcept = default;
Witness& Witness::operator=(Witness&&) noexcept = default;
Witness::~Witness() = default;

Result<Witness> Witness::load() {
  witness_bpf* skeleton = witness_bpf__open_and_load();
  if (skeleton == nullptr) return Error{errno, "load of the witness programs"};
  auto state = std::make_unique<State>(skeleton);
  state->skeleton->bss->target_tgid = static_cast<__u32>(getpid());
  // The iterator is made by look(), for one thread; this attaches the counters.
  bpf_program__set_autoattach(state->skeleton->progs.witness_read, false);
  if (int err = witness_bpf__attach(state->skeleton.get()); err != 0)
    return Error{-err, "attach of the call counters"};
  return Witness(std::move(state));
}

Result<Sighting> Witness::look(int fd) {
  witness_bpf& skeleton = *state_->skeleton;
  skeleton.bss->target_fd = fd;
  skeleton.bss->found = 0;
  skeleton.bss->too_large = 0;
  memset(&skeleton.bss->snapshot, 0, sizeof(skeleton.bss->snapshot));
  memset(&skeleton.bss->raw, 0, sizeof(skeleton.bss->raw));
  SOCKREPAIR_TRY(state_->iterator.run());

  std::string what = "look at descriptor " + std::to_string(fd);
  if (skeleton.bss->found == 0) return Error{ENOTSOCK, what};
  if (skeleton.bss->found > 1 || skeleton.bss->too_large != 0) return Error{EOVERFLOW, what};
  return Sighting{skeleton.bss->snapshot, skeleton.bss->raw};
}

CallCounts Witness::calls() const {
  CallCounts counts;
#define WITNESS_MEMBER(function) \
  counts[#function] = state_->skeleton->bss->calls[WITNESS_CALL_##function];
  WITNESS_CALLS(WITNESS_MEMBER)
#undef WITNESS_MEMBER
  return counts;
}

}  // namespace sockrepair::test
