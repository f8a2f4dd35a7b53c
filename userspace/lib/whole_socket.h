// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_LIB_WHOLE_SOCKET_H_
#define SOCKREPAIR_LIB_WHOLE_SOCKET_H_

#include <cstdint>
#include <functional>
#include <optional>

#include "inet_socket.h"
#include "option_state.h"
#include "sockrepair/result.h"
#include "sockrepair/tcp_socket.h"
#include "sockrepair/udp_socket.h"

// The public functions of the same names, for callers who know more. These may throw bad_alloc.
namespace sockrepair::internal {

// The survey of the namespace with this cookie; nullptr: none.
using SurveyOf = std::function<const TcpSurvey*(std::uint64_t netns_cookie)>;

// `survey_of` may be empty; it is not asked if the options have a survey.
Result<TcpSocket> dump_tcp(int fd, const SocketKind& kind, const TcpDumpOptions& options,
                           const SurveyOf& survey_of);
Result<UdpSocket> dump_udp(int fd, const SocketKind& kind, const UdpDumpOptions& options);

// What is the same for all sockets of a kind in one network namespace.
struct Surroundings {
  FreshOptions fresh;
  std::optional<PortRange> ports;  // nothing: the kernel does not tell
};

// `here` is of the kind of the socket, nullptr: not known.
Result<RestoredTcpSocket> restore_tcp(const TcpSocket& socket, const TcpRestoreOptions& options,
                                      const Surroundings* here);
Result<RestoredSocket> restore_udp(const UdpSocket& socket, const UdpRestoreOptions& options,
                                   const Surroundings* here);

// What resume_tcp_socket() needs of a value, and no more.
struct TcpRest {
  std::optional<TcpSocket> syn_sent;
  bool connected = false;
  int reuse = 0;                // SO_REUSEADDR
  TcpConnection::Bytes unsent;  // to be sent,
  bool fin_unsent = false;      // and then a FIN
};
TcpRest rest_of(const TcpSocket& socket);
Result<void> resume_tcp(int fd, const TcpRest& rest, const TcpRestoreOptions& options);

// The same of resume_tcp_source(), for a connection.
struct TcpSourceRest {
  int fd;
  int reuse;
};
TcpSourceRest rest_of_source(int fd, const TcpSocket& socket);
Result<void> resume_source(const TcpSourceRest& rest);

}  // namespace sockrepair::internal

#endif  // SOCKREPAIR_LIB_WHOLE_SOCKET_H_
