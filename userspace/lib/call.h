// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_LIB_CALL_H_
#define SOCKREPAIR_LIB_CALL_H_

#include <sys/socket.h>

#include <cstdint>

// System calls as values, so that somebody else can make them than the function that wants one:
// see lanes.h.
namespace sockrepair::internal {

enum class CallKind : std::uint8_t {
  kSocket,       // fd: the domain, first: the type, second: the protocol
  kBind,         // memory, length: the address
  kListen,       // first: the backlog
  kConnect,      // memory, length: the address
  kShutdown,     // first: how
  kGetsockopt,   // first: the level, second: the name; memory, length: room for the value
  kSetsockopt,   // the same, the value
  kGetsockname,  // memory: room for the address, size: of the room, and of the address afterwards
  kGetpeername,  // the same
  kSendmsg,      // memory: a msghdr, first: flags
  kRecvmsg,      // the same
};
inline constexpr std::size_t kCallKinds = static_cast<std::size_t>(CallKind::kRecvmsg) + 1;

// What it points to has to be there until the call is made.
struct Call {
  CallKind kind;
  int fd;
  int first = 0;
  int second = 0;
  void* memory = nullptr;
  socklen_t length = 0;
  socklen_t* size = nullptr;
};

// Makes the call and gives what the kernel says: minus an errno number, or 0 or more; of
// kGetsockopt the length of the value. Through the carrier of the calling thread, if it has one
// that takes this call.
long make(const Call& call);
// The same, by a system call of the thread itself.
long make_here(const Call& call);

// Who makes the calls of a thread in its place.
class Carrier {
 public:
  virtual bool takes(const Call& call) const = 0;
  // Precondition: takes(call).
  virtual long make(const Call& call) = 0;

 protected:
  ~Carrier() = default;
};

// The carrier of the calling thread, for as long as this object is; nullptr: none. For what has to
// be one step for the other sockets of a batch, and for calls that would mean something else when
// made by a ring.
class CarriedBy {
 public:
  explicit CarriedBy(Carrier* carrier);
  CarriedBy(const CarriedBy&) = delete;
  CarriedBy& operator=(const CarriedBy&) = delete;
  ~CarriedBy();

 private:
  Carrier* before_;
};

}  // namespace sockrepair::internal

#endif  // SOCKREPAIR_LIB_CALL_H_
