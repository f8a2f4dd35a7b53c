// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "tcp_repair_calls.h"

#include <linux/sockios.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <iterator>

namespace sockrepair::fuzz {

namespace {

// Codes of TCP options.
constexpr std::uint32_t kMss = 2;
constexpr std::uint32_t kWindowScale = 3;
constexpr std::uint32_t kSackPermitted = 4;
constexpr std::uint32_t kTimestamp = 8;

// The bounds, as the table in Documentation/networking/tcp_repair.rst has them.
constexpr std::uint32_t kMinMss = 88;
constexpr std::uint32_t kMaxMss = 65535;
constexpr std::uint32_t kMaxScale = 14;
constexpr std::uint32_t kMaxWindow = 65535U << kMaxScale;

constexpr const char* kOpNames[] = {"socket",     "pair",   "twins",    "lonely",  "set",
                                    "options",    "window", "send",     "receive", "connect",
                                    "disconnect", "bind",   "shutdown", "listen",  "accept",
                                    "info",       "get",    "ioctl",    "close",   "fork"};
static_assert(std::size(kOpNames) == static_cast<std::size_t>(Op::kCount));

// An option that has nothing to do with TCP_REPAIR, but with what it sets; values below `limit`.
struct Option {
  int level;
  int name;
  std::uint32_t limit;
};
constexpr Option kOtherOptions[] = {
    {SOL_SOCKET, SO_REUSEADDR, 2},
    {SOL_SOCKET, SO_RCVBUF, 1 << 20},
    {SOL_SOCKET, SO_SNDBUF, 1 << 20},
    {SOL_SOCKET, SO_KEEPALIVE, 2},
    {SOL_SOCKET, SO_ZEROCOPY, 2},
    {SOL_SOCKET, SO_RCVLOWAT, 1 << 18},
    {SOL_SOCKET, SO_OOBINLINE, 2},
    {SOL_SOCKET, SO_REUSEPORT, 2},
    {IPPROTO_TCP, TCP_NODELAY, 2},
    {IPPROTO_TCP, TCP_CORK, 2},
    {IPPROTO_TCP, TCP_MAXSEG, 9000},
    {IPPROTO_TCP, TCP_WINDOW_CLAMP, 1 << 20},
    {IPPROTO_TCP, TCP_QUICKACK, 2},
    {IPPROTO_TCP, TCP_USER_TIMEOUT, 5000},
    {IPPROTO_TCP, TCP_FASTOPEN, 8},
    {IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 2},
    {IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE, 2},
    {IPPROTO_TCP, TCP_DEFER_ACCEPT, 3},
    {IPPROTO_TCP, TCP_LINGER2, 10},
    {IPPROTO_TCP, TCP_KEEPIDLE, 3},
    {IPPROTO_TCP, TCP_SAVE_SYN, 3},
    {IPPROTO_TCP, TCP_NOTSENT_LOWAT, 1 << 18},
};

// What the options of TCP_REPAIR may end with, beside success.
struct Errors {
  int name;
  std::initializer_list<int> errors;
};
const Errors kErrors[] = {
    {TCP_REPAIR, {EPERM, EINVAL}},    {TCP_REPAIR_QUEUE, {EPERM, EINVAL}},
    {TCP_QUEUE_SEQ, {EPERM, EINVAL}}, {TCP_REPAIR_OPTIONS, {EPERM, EINVAL, EFBIG}},
    {TCP_TIMESTAMP, {EPERM, EINVAL}}, {TCP_REPAIR_WINDOW, {EPERM, EINVAL}},
};

constexpr const char* kFieldNames[] = {"snd_wl1", "snd_wnd", "max_window", "rcv_wnd", "rcv_wup"};

__attribute__((format(printf, 2, 3))) void append(std::string& text, const char* format, ...) {
  char buffer[128];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(buffer, sizeof(buffer), format, arguments);
  va_end(arguments);
  text += buffer;
}

void append_options(std::string& text, const Call& call) {
  for (int i = 0; i < call.option_count; ++i)
    append(text, " %u=%u", call.options[i].opt_code, call.options[i].opt_val);
}

void append_window(std::string& text, const WindowChange& window) {
  if (window.plain)
    append(text, " snd_wnd=%u rcv_wnd=%u", window.plain_snd_wnd, window.plain_rcv_wnd);
  for (int i = 0; i < window.count; ++i) {
    const WindowChange::Step& step = window.steps[i];
    append(text, " %s%s%u", kFieldNames[step.field], step.add ? "+=" : "=", step.number);
  }
}

}  // namespace

const char* op_name(Op op) {
  return kOpNames[static_cast<std::size_t>(op)];
}

void WindowChange::apply(tcp_repair_window& window) const {
  std::uint32_t* const fields[kFields] = {&window.snd_wl1, &window.snd_wnd, &window.max_window,
                                          &window.rcv_wnd, &window.rcv_wup};
  if (plain) {
    window.max_window = 65535;
    window.snd_wnd = plain_snd_wnd;
    window.rcv_wnd = plain_rcv_wnd;
  }
  for (int i = 0; i < count; ++i) {
    std::uint32_t& field = *fields[steps[i].field];
    field = steps[i].add ? field + steps[i].number : steps[i].number;
  }
}

std::string to_string(const Call& call) {
  std::string text;
  append(text, "%s %u", op_name(call.op), call.slot);
  switch (call.op) {
    case Op::kSocket:
      append(text, " %s", call.v6 ? "v6" : "v4");
      break;
    case Op::kPair:
      append(text, " %u %s port %u", call.other, call.v6 ? "v6" : "v4", call.port);
      break;
    case Op::kTwins:
    case Op::kLonely:
      append(text, " %u %s ports %u %u seq %u %u timestamp %u send %u leave %d;", call.other,
             call.v6 ? "v6" : "v4", call.port, call.peer_port, call.snd_seq, call.rcv_seq,
             call.timestamp, call.length, call.leave);
      append_options(text, call);
      append_window(text, call.window);
      break;
    case Op::kSet:
      append(text, " level %d name %d value %u", call.level, call.name, call.value);
      break;
    case Op::kSetOptions:
      append_options(text, call);
      append(text, " length %u", call.length);
      break;
    case Op::kSetWindow:
      append_window(text, call.window);
      break;
    case Op::kSend:
    case Op::kReceive:
      append(text, " %u bytes, flags %#x", call.length, call.flags);
      if (call.flags & MSG_FASTOPEN)
        append(text, " to %s port %u", call.v6 ? "v6" : "v4", call.peer_port);
      break;
    case Op::kConnect:
      append(text, " %s port %u", call.v6 ? "v6" : "v4", call.peer_port);
      break;
    case Op::kBind:
      append(text, " %s port %u", call.v6 ? "v6" : "v4", call.port);
      break;
    case Op::kShutdown:
    case Op::kListen:
    case Op::kIoctl:
      append(text, " %u", call.value);
      break;
    case Op::kAccept:
      append(text, " to %u", call.other);
      break;
    case Op::kGet:
      append(text, " level %d name %d length %u", call.level, call.name, call.length);
      break;
    case Op::kFork:
      append(text, " seed %llu, %u calls", static_cast<unsigned long long>(call.seed), call.length);
      break;
    default:
      break;
  }
  if (call.ring) text += " by io_uring";
  return text;
}

Sequence::Sequence(std::uint64_t seed, unsigned thread)
    : random_(Random(seed + thread * 0xd1342543de82ef95ULL).next()),
      missing_(thread == 0 ? kSlots : 0) {}

Call Sequence::next() {
  if (missing_ > 0) {
    --missing_;
    Call call;
    call.slot = static_cast<std::uint8_t>(missing_);
    call.op = random_.pick({Op::kSocket, Op::kPair, Op::kTwins, Op::kLonely});
    add_connection(call);
    return call;
  }
  if (burst_ > 0) {
    --burst_;
    return next_of_burst();
  }
  if (random_.one_in(3)) {
    burst_ = 16 + random_.below(64);
    burst_slot_ = slot();
  }
  return next_of_any();
}

Call Sequence::next_of_burst() {
  const std::uint32_t what = random_.below(16);
  if (what < 12) return repair_call(burst_slot_);
  if (what < 14) return get(burst_slot_);
  Call call;
  call.slot = burst_slot_;
  call.op = Op::kInfo;
  return call;
}

Call Sequence::repair_call(std::uint8_t at) {
  const std::uint32_t what = random_.below(32);
  Call call;
  call.slot = at;
  if (what < 5) {
    return set(at, IPPROTO_TCP, TCP_REPAIR,
               static_cast<std::uint32_t>(
                   random_.one_in(8) ? random_.pick({TCP_REPAIR_OFF, TCP_REPAIR_OFF_NO_WP, 2})
                                     : TCP_REPAIR_ON));
  }
  if (what < 10) {
    return set(at, IPPROTO_TCP, TCP_REPAIR_QUEUE,
               random_.one_in(8)
                   ? number()
                   : random_.pick<std::uint32_t>({TCP_NO_QUEUE, TCP_RECV_QUEUE, TCP_SEND_QUEUE}));
  }
  if (what < 14) return set(at, IPPROTO_TCP, TCP_QUEUE_SEQ, number());
  if (what < 18) return set(at, IPPROTO_TCP, TCP_TIMESTAMP, number());
  call.ring = random_.one_in(16);
  if (what < 25) {
    call.op = Op::kSetOptions;
    add_options(call);
  } else {
    call.op = Op::kSetWindow;
    add_window(call);
  }
  return call;
}

Call Sequence::next_of_any() {
  Call call;
  call.slot = slot();
  const std::uint32_t what = random_.below(128);
  if (what < 3) {
    call.op = Op::kSocket;
    call.v6 = random_.one_in(3);
  } else if (what < 5) {
    call.op = Op::kPair;
    add_connection(call);
  } else if (what < 9) {
    call.op = Op::kTwins;
    add_connection(call);
  } else if (what < 13) {
    call.op = Op::kLonely;
    add_connection(call);
  } else if (what < 44) {
    return repair_call(call.slot);
  } else if (what < 64) {
    return send(call.slot);
  } else if (what < 76) {
    call.op = Op::kReceive;
    call.flags = random_.pick<int>({0, 0, 0, MSG_PEEK, MSG_OOB, MSG_TRUNC, MSG_PEEK | MSG_TRUNC});
    call.length = random_.below(8193);
  } else if (what < 81) {
    call.op = Op::kConnect;
    call.v6 = random_.one_in(3);
    call.peer_port = port();
  } else if (what < 84) {
    call.op = Op::kDisconnect;
  } else if (what < 87) {
    call.op = Op::kBind;
    call.v6 = random_.one_in(3);
    call.port = port();
  } else if (what < 91) {
    call.op = Op::kShutdown;
    call.value = random_.below(3);
  } else if (what < 94) {
    call.op = Op::kListen;
    call.value = random_.below(3);
  } else if (what < 98) {
    call.op = Op::kAccept;
    call.other = slot();
  } else if (what < 108) {
    return set_something(call.slot);
  } else if (what < 114) {
    call.op = Op::kInfo;
  } else if (what < 119) {
    return get(call.slot);
  } else if (what < 123) {
    call.op = Op::kIoctl;
    call.value = random_.pick<std::uint32_t>({SIOCINQ, SIOCOUTQ, SIOCOUTQNSD});
  } else if (what < 127 || child_ || !random_.one_in(4)) {
    call.op = Op::kClose;
  } else {
    call.op = Op::kFork;
    call.seed = random_.next();
    call.length = 8 + random_.below(32);
  }
  return call;
}

Call Sequence::set(std::uint8_t at, int level, int name, std::uint32_t value) {
  Call call;
  call.op = Op::kSet;
  call.slot = at;
  call.level = level;
  call.name = name;
  call.value = value;
  call.ring = random_.one_in(16);
  return call;
}

Call Sequence::get(std::uint8_t at) {
  Call call;
  call.op = Op::kGet;
  call.slot = at;
  call.level = IPPROTO_TCP;
  call.name = random_.pick(
      {TCP_REPAIR, TCP_REPAIR_QUEUE, TCP_QUEUE_SEQ, TCP_MAXSEG, TCP_TIMESTAMP, TCP_REPAIR_WINDOW});
  call.length = call.name == TCP_REPAIR_WINDOW ? sizeof(tcp_repair_window) : sizeof(int);
  if (random_.one_in(8)) call.length = random_.below(64);
  return call;
}

void Sequence::add_options(Call& call) {
  constexpr std::uint32_t kCodes[] = {kMss, kWindowScale, kSackPermitted, kTimestamp};
  call.option_count =
      static_cast<std::uint8_t>(random_.one_in(4) ? random_.below(7) : 1 + random_.below(4));
  const std::uint32_t first = random_.below(4);
  for (std::uint32_t i = 0; i < call.option_count; ++i) {
    tcp_repair_opt& option = call.options[i];
    // Each of the four once, in any rotation.
    option.opt_code = kCodes[(first + i) % 4];
    if (option.opt_code == kMss) option.opt_val = kMinMss + random_.below(9000);
    if (option.opt_code == kWindowScale) {
      option.opt_val = random_.below(kMaxScale + 1);
      option.opt_val |= random_.below(kMaxScale + 1) << 16;
    }
    if (random_.one_in(16)) option.opt_val = number();
    if (random_.one_in(32)) option.opt_code = number();
  }
  call.length = call.option_count * static_cast<std::uint32_t>(sizeof(call.options[0]));
  if (random_.one_in(16)) call.length = random_.below(sizeof(call.options) + 1);
}

// A step away from what the socket has, so that a good part is accepted.
void Sequence::add_window(Call& call) {
  WindowChange& window = call.window;
  window.plain = random_.one_in(2);
  if (window.plain) {
    window.plain_snd_wnd = random_.below(65536);
    window.plain_rcv_wnd = random_.below(65536);
  }
  window.count = static_cast<std::uint8_t>(random_.below(4));
  for (int i = 0; i < window.count; ++i) {
    window.steps[i] = {static_cast<WindowChange::Field>(random_.below(WindowChange::kFields)),
                       random_.one_in(2), number()};
  }
}

void Sequence::add_connection(Call& call) {
  call.v6 = random_.one_in(3);
  call.other = static_cast<std::uint8_t>((call.slot + 1 + random_.below(kSlots - 1)) % kSlots);
  call.port = port();
  call.peer_port = static_cast<std::uint8_t>((call.port + 1 + random_.below(kPorts - 1)) % kPorts);
  call.snd_seq = random_.next32();
  call.rcv_seq = random_.next32();
  call.timestamp = random_.next32();
  call.length = random_.below(4000);
  call.leave = random_.pick({TCP_REPAIR_ON, TCP_REPAIR_OFF, TCP_REPAIR_OFF_NO_WP});
  add_options(call);
  add_window(call);
}

Call Sequence::send(std::uint8_t at) {
  Call call;
  call.op = Op::kSend;
  call.slot = at;
  call.flags = random_.pick<int>({0, 0, 0, MSG_MORE, MSG_OOB, MSG_EOR, MSG_ZEROCOPY, MSG_FASTOPEN});
  call.length = random_.one_in(16) ? random_.below(1 << 16) : random_.below(3000);
  call.v6 = random_.one_in(3);
  call.peer_port = port();
  return call;
}

Call Sequence::set_something(std::uint8_t at) {
  const Option& option = kOtherOptions[random_.below(std::size(kOtherOptions))];
  return set(at, option.level, option.name, random_.below(option.limit));
}

std::uint32_t Sequence::number() {
  switch (random_.below(4)) {
    case 0:
      return random_.pick<std::uint32_t>(
          {0, 1, 87, 88, 535, 536, 1460, 32767, 65535, 65536, 0x7fffffff, 0x80000000, 0xffffffff});
    case 1: {
      const std::uint32_t window = 65535U << random_.below(15);
      return window + random_.below(3) - 1;
    }
    case 2:
      return random_.below(70000);
    default: {
      const std::uint32_t bits = random_.below(32);
      return random_.next32() >> bits;
    }
  }
}

std::uint64_t case_seed(std::uint64_t seed, std::uint64_t number) {
  return Random(seed ^ (number + 1) * 0xd1342543de82ef95ULL).next();
}

unsigned threads_of_case(std::uint64_t number) {
  return number % 2 == 0 ? 1 : 2;
}

bool options_may_be_right(std::span<const tcp_repair_opt> options, std::uint32_t length) {
  if (length == 0 || length % sizeof(tcp_repair_opt) != 0) return false;
  std::uint32_t seen = 0;
  for (const tcp_repair_opt& option : options.first(length / sizeof(tcp_repair_opt))) {
    switch (option.opt_code) {
      case kMss:
        if (option.opt_val < kMinMss || option.opt_val > kMaxMss) return false;
        break;
      case kWindowScale:
        if ((option.opt_val & 0xffff) > kMaxScale || option.opt_val >> 16 > kMaxScale) return false;
        break;
      case kSackPermitted:
      case kTimestamp:
        if (option.opt_val != 0) return false;
        break;
      default:
        return false;
    }
    const std::uint32_t bit = 1U << option.opt_code;
    if (seen & bit) return false;
    seen |= bit;
  }
  return true;
}

bool window_may_be_right(const tcp_repair_window& window) {
  return window.snd_wnd <= window.max_window && window.max_window <= kMaxWindow &&
         window.rcv_wnd <= kMaxWindow;
}

bool error_is_documented(int level, int name, int error) {
  if (level != IPPROTO_TCP) return true;
  // The descriptor was closed under our hands, or memory is short.
  if (error == 0 || error == EBADF || error == ENOTSOCK || error == ENOMEM) return true;
  for (const Errors& row : kErrors)
    if (row.name == name)
      return std::find(row.errors.begin(), row.errors.end(), error) != row.errors.end();
  return true;
}

}  // namespace sockrepair::fuzz
