// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "util/qdisc.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>

#include "sockrepair/syscall.h"
#include "try.h"

namespace sockrepair::test {

Result<void> set_root_qdisc(const NetNs& ns, const std::string& interface,
                            const std::string& kind) {
  struct {
    nlmsghdr header;
    tcmsg qdisc;
    nlattr kind_header;
    char kind[16];
  } request{};
  if (kind.size() >= sizeof(request.kind)) return Error{EINVAL, "qdisc '" + kind + "'"};
  request.header.nlmsg_len = sizeof(request);
  request.header.nlmsg_type = RTM_NEWQDISC;
  request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_CREATE | NLM_F_REPLACE | NLM_F_ACK;
  request.qdisc.tcm_ifindex = static_cast<int>(ns.ifindex(interface));
  request.qdisc.tcm_parent = TC_H_ROOT;
  request.kind_header.nla_len = sizeof(request.kind_header) + sizeof(request.kind);
  request.kind_header.nla_type = TCA_KIND;
  memcpy(request.kind, kind.data(), kind.size());

  SOCKREPAIR_TRY_ASSIGN(Fd fd,
                        ns.run([] { return sys::socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE); }));
  if (::send(fd.get(), &request, sizeof(request), 0) < 0)
    return Error{errno, "send(RTM_NEWQDISC " + kind + ")"};
  struct {
    nlmsghdr header;
    nlmsgerr error;
    char rest[512];
  } answer{};
  if (::recv(fd.get(), &answer, sizeof(answer), 0) < 0) return Error{errno, "recv(RTM_NEWQDISC)"};
  if (answer.header.nlmsg_type != NLMSG_ERROR) return Error{EPROTO, "answer to RTM_NEWQDISC"};
  if (answer.error.error != 0)
    return Error{-answer.error.error, "RTM_NEWQDISC " + interface + " " + kind};
  return {};
}

}  // namespace sockrepair::test
