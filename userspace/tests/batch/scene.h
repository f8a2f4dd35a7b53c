// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TESTS_BATCH_SCENE_H_
#define SOCKREPAIR_TESTS_BATCH_SCENE_H_

#include <cstddef>
#include <cstdint>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "sockrepair/batch.h"
#include "sockrepair/fd.h"
#include "sockrepair/result.h"
#include "util/net_ns.h"

// Sockets of all kinds in one network namespace, to be moved to where they were: ours; and the
// other ends of their connections, which stay.
//
//   ASSERT_OK_AND_ASSIGN(Scene scene, Scene::create());
//   ASSERT_OK_AND_ASSIGN(auto values, scene.dump(kWays[0]));
//   scene.close();
//   ASSERT_THAT(scene.restore(kWays[1], values), IsOk());
namespace sockrepair::test {

// How a batch is done.
struct Way {
  const char* name;
  bool batch;  // otherwise one by one, each by a call of its own
  bool io_uring;

  friend void PrintTo(const Way& way, std::ostream* out) { *out << way.name; }
};
inline constexpr Way kWays[] = {
    {"one_by_one", false, false}, {"plain", true, false}, {"io_uring", true, true}};
inline constexpr const Way& kOneByOne = kWays[0];
inline constexpr const Way& kPlain = kWays[1];
inline constexpr const Way& kIoUring = kWays[2];

// Whether this process can use an io_uring that knows options of sockets.
bool has_io_uring();

class Scene {
 public:
  // Nothing sends while nobody does anything.
  static Result<Scene> create();

  const NetNs& ns() const { return ns_; }
  std::vector<int> fds() const;
  std::vector<Fd>& ours() { return ours_; }
  // "v4 listener"; of the same socket as ours()[i].
  const std::string& name(std::size_t i) const { return names_[i]; }
  std::size_t size() const { return ours_.size(); }
  std::size_t find(const std::string& name) const;

  // Leaves connections in repair mode, if asked.
  Result<std::vector<AnySocket>> dump(const Way& way, bool leave_in_repair = true) const;
  // Without a word to the peers.
  void close();
  // In the order in which they were made, if the way has none of its own.
  Result<void> restore(const Way& way, const std::vector<AnySocket>& values);

  // Connections carry bytes in both directions, the bytes that waited first; listeners accept;
  // datagrams arrive.
  Result<void> check_alive();

  // Segments that were sent in the namespace (Tcp: OutSegs), and resets among them.
  Result<std::uint64_t> segments_sent() const;

 private:
  explicit Scene(NetNs ns) : ns_(std::move(ns)) {}
  Result<void> add_family(int domain);
  Result<void> connect_opened(int domain, const std::string& prefix);
  void add(const std::string& name, Fd fd);

  NetNs ns_;
  Fd deaf_;
  std::vector<Fd> ours_;
  std::vector<std::string> names_;
  std::vector<Fd> peers_;             // of the socket with the same index, if it has one
  std::vector<std::string> waiting_;  // what waits to be received there
  std::vector<std::size_t> made_;     // indices in the order in which the sockets were made
};

// What two dumps of the same socket, or of one that was restored and what it was restored from,
// have that is not the same, line by line; empty: nothing. Leaves out what names one socket, and
// what is of one moment.
std::string difference(const AnySocket& got, const AnySocket& want);

}  // namespace sockrepair::test

#endif  // SOCKREPAIR_TESTS_BATCH_SCENE_H_
