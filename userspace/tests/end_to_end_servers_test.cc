// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// `sockrepair` and programs that nobody here wrote, of the packages of scripts/unpacked.txt. Their
// state is in their memory, and none takes a socket that it is given: living processes get new
// sockets for their connections, on both ends of each.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>

#include <fstream>
#include <string>
#include <vector>

#include "end_to_end_fixture.h"
#include "util/matchers.h"
#include "util/tool.h"

namespace sockrepair::test {
namespace {

// nc(1) takes no socket from anybody. A client that dies in the middle of a transfer is followed by
// another one, which loses its own connection, to somewhere else, and gets this one. The server
// gets a new socket, too, with what it had not read yet. Both directions are whole.
TEST_F(TcpEndToEndTest, TransferOfNcGoesOnInAnotherProcess) {
  auto nc = [&](const std::string& feed, const std::string& arguments) {
    // In the guest, sh is busybox and has an nc of its own.
    return start({"bash", "-c", "exec nc " + arguments + " <\"$0\"", directory_->file(feed)});
  };
  auto wait_out = [](const Running& program, const std::string& all) {
    return wait_until("all has arrived", Deadline::after(kPatience),
                      [&] { return program.out() == all; });
  };
  ASSERT_OK_AND_ASSIGN(Feed to_server, Feed::create(directory_->file("server")));
  ASSERT_OK_AND_ASSIGN(Feed to_first, Feed::create(directory_->file("first")));
  ASSERT_OK_AND_ASSIGN(Feed to_second, Feed::create(directory_->file("second")));
  ASSERT_OK_AND_ASSIGN(Running server, nc("server", "-l 127.0.0.1 6001"));
  ASSERT_OK_AND_ASSIGN(Running elsewhere, start({"nc", "-d", "-l", "127.0.0.1", "6002"}));
  ASSERT_THAT(wait_bound(server, 6001), IsOk()) << server.err();
  ASSERT_THAT(wait_bound(elsewhere, 6002), IsOk()) << elsewhere.err();
  // -N: the end of what it reads is the end of what it sends.
  ASSERT_OK_AND_ASSIGN(Running first, nc("first", "-N 127.0.0.1 6001"));
  ASSERT_OK_AND_ASSIGN(Running second, nc("second", "-N 127.0.0.1 6002"));
  ASSERT_TRUE(to_first.write(lines(0, 1000)) && to_server.write("one\n"));
  ASSERT_THAT(wait_out(server, to_first.all()), IsOk()) << server.err() << first.err();
  ASSERT_THAT(wait_out(first, "one\n"), IsOk()) << server.err() << first.err();
  ASSERT_TRUE(to_second.write("lost\n"));
  ASSERT_THAT(wait_out(elsewhere, "lost\n"), IsOk()) << elsewhere.err() << second.err();

  ASSERT_THAT(hold(server), IsOk());
  ASSERT_TRUE(to_first.write(lines(1000, 1000)));  // waits to be read
  ASSERT_THAT(wait_until("it has arrived", Deadline::after(kPatience),
                         [&] { return bytes_received(server.pid()) == to_first.all().size(); }),
              IsOk());
  ASSERT_THAT(hold(second), IsOk());
  ASSERT_OK_AND_ASSIGN(Ran freed, tool({"dump", "--pid", std::to_string(second.pid()), "--no-lock",
                                        "--connections-only", "--close", "-o", image()}));
  ASSERT_EQ(freed.status, 0) << freed.err;
  ASSERT_OK_AND_ASSIGN(Json moved, move_connections(first.pid(), second.pid()));
  EXPECT_EQ(moved["connections"], 1);
  EXPECT_THAT(first.wait(), IsOk());
  ASSERT_OK_AND_ASSIGN(Json renewed, renew_connections(server.pid()));
  EXPECT_EQ(renewed["connections"], 1);
  EXPECT_GT(renewed["to_be_read"], 0);

  ASSERT_TRUE(to_second.write(lines(2000, 1000)) && to_server.write("two\n"));
  to_second.end();
  to_server.end();
  ASSERT_OK_AND_ASSIGN(Ran sent, second.wait());
  EXPECT_EQ(sent.status, 0) << sent.err;
  EXPECT_EQ(sent.out, "two\n");
  ASSERT_OK_AND_ASSIGN(Ran received, server.wait());
  EXPECT_EQ(received.status, 0) << received.err;
  EXPECT_TRUE(received.out == to_first.all() + lines(2000, 1000)) << received.out.size();
  EXPECT_EQ(first.out(), "one\n");
}

// A session of OpenSSH's: what its two ends say to each other is numbered, and so signed, by what
// is in their memories. Both get new sockets.
TEST_F(TcpEndToEndTest, SessionOfOpenSshGoesOn) {
  const std::string dir = directory_->file("");
  std::ofstream(dir + "/config") << "ListenAddress 127.0.0.1:2201\n"
                                 << "HostKey " << dir << "/host\n"
                                 << "AuthorizedKeysFile " << dir << "/key.pub\n"
                                 << R"(PidFile none
PermitRootLogin prohibit-password
StrictModes no
)";
  ASSERT_OK_AND_ASSIGN(
      Running server,
      start({"unshare", "-m", "sh", "-ec",
             "cd \"$0\"; for key in host key; do ssh-keygen -q -t ed25519 -N '' -f $key; done; "
             // Where it locks up its process that talks to strangers.
             "mount -t tmpfs tmpfs /run; mkdir /run/sshd; "
             "exec \"$(command -v sshd)\" -D -e -f config",
             dir}));
  ASSERT_THAT(wait_bound(server, 2201), IsOk()) << server.err();
  ASSERT_OK_AND_ASSIGN(Feed feed, Feed::create(directory_->file("feed")));
  ASSERT_OK_AND_ASSIGN(
      Running client,
      start({"sh", "-c",
             // A key exchange that is quick to compute.
             "exec ssh -F none -o KexAlgorithms=curve25519-sha256 -i \"$0/key\" "
             "-o IdentitiesOnly=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o "
             "LogLevel=ERROR -p 2201 root@127.0.0.1 "
             "'while read -r text; do echo \"got $text\"; done' <\"$0/feed\"",
             dir}));
  ASSERT_TRUE(feed.write("one\n"));
  ASSERT_THAT(wait_got(client, "one"), IsOk()) << client.err() << server.err();
  const pid_t session = session_of(server.pid());
  ASSERT_NE(session, 0) << server.err();

  renew_both(session, client.pid(), [&] { ASSERT_TRUE(feed.write("two\nthree\n")); });
  ASSERT_THAT(wait_got(client, "three"), IsOk()) << client.err() << server.err();
  ASSERT_TRUE(feed.write("four\n"));
  feed.end();
  ASSERT_OK_AND_ASSIGN(Ran ended, client.wait());
  EXPECT_EQ(ended.status, 0) << ended.err;
  EXPECT_EQ(ended.out, "got one\ngot two\ngot three\ngot four\n");
}

// A client of nginx's gets two files by one connection. In the middle of the first one the process
// that serves it gets a new socket, which it waits for with epoll, edge-triggered, and then the
// client does.
TEST_F(TcpEndToEndTest, TransferOfNginxGoesOn) {
  const std::string root = directory_->file("");
  const std::string first = lines(0, 150'000), second = lines(150'000, 1000);
  std::ofstream(root + "/first") << first;
  std::ofstream(root + "/second") << second;
  std::ofstream config(root + "/nginx.conf");
  config << R"(daemon off;
user nobody nogroup;
worker_processes 1;
error_log stderr;
events {}
)"
         << "pid " << root << "/nginx.pid;\nhttp {\n";
  for (const char* use : {"client_body", "proxy", "fastcgi", "uwsgi", "scgi"})
    config << use << "_temp_path " << root << "/" << use << ";\n";
  config << "access_log off;\nsendfile on;\nserver {\nlisten 127.0.0.1:8001;\nroot " << root
         << ";\n}\n}\n";
  config.close();
  ASSERT_EQ(::chmod(root.c_str(), 0755), 0);  // for nobody
  ASSERT_OK_AND_ASSIGN(Running server,
                       start({"nginx", "-e", "stderr", "-c", root + "/nginx.conf"}));
  ASSERT_THAT(wait_bound(server, 8001), IsOk()) << server.err();
  const std::string pipe = directory_->file("pipe");
  ASSERT_OK_AND_ASSIGN(SlowReader reader, SlowReader::create(pipe));
  ASSERT_OK_AND_ASSIGN(Running client, get_two_files(8001, pipe));
  ASSERT_THAT(reader.read(100'000), IsOk()) << client.err() << server.err();

  const std::vector<pid_t> workers = children_of(server.pid());
  ASSERT_THAT(workers, ::testing::SizeIs(1)) << server.err();
  ASSERT_OK_AND_ASSIGN(Json of_server, renew_connections(workers[0]));
  EXPECT_EQ(of_server["connections"], 1);
  EXPECT_GT(of_server["to_be_acknowledged"], 0) << "not in the middle of a file";
  ASSERT_THAT(reader.read(100'000), IsOk()) << client.err() << server.err();
  ASSERT_OK_AND_ASSIGN(Json of_client, renew_connections(client.pid()));
  EXPECT_EQ(of_client["connections"], 1);
  EXPECT_GT(of_client["to_be_read"], 0) << "not in the middle of a file";
  ASSERT_THAT(reader.read_to_the_end(), IsOk()) << reader.all().size() << " bytes";
  EXPECT_TRUE(reader.all() == first + second) << reader.all().size() << " bytes";
  ASSERT_OK_AND_ASSIGN(Ran ended, client.wait());
  EXPECT_EQ(ended.status, 0);
  EXPECT_EQ(ended.err, kByOneConnection);
  server.signal(SIGTERM);  // ends its worker, too
  EXPECT_THAT(server.wait(), IsOk());
}

// A transaction of PostgreSQL's goes on when both the process of the server that executes it and
// its client have got new sockets, is committed, and is one to everybody else.
TEST_F(TcpEndToEndTest, TransactionOfPostgresqlGoesOn) {
  const std::string root = directory_->file("");
  ASSERT_EQ(::chmod(root.c_str(), 0755), 0);  // for nobody
  // In the guest, sh is busybox and has a setpriv of its own.
  ASSERT_OK_AND_ASSIGN(
      Running server,
      start({"bash", "-ec",
             "cp -r /var/lib/postgresql/cluster \"$0/data\"; chmod 700 \"$0/data\"; "
             ": >\"$0/data/postgresql.conf\"; chown -R nobody:nogroup \"$0/data\"; "
             "exec setpriv --reuid=nobody --regid=nogroup --clear-groups postgres -D \"$0/data\" "
             "-c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off "
             "-c autovacuum=off",
             root}));
  ASSERT_THAT(wait_bound(server, 5432), IsOk()) << server.err();
  auto psql = [&](const std::string& more) {
    return start({"sh", "-c", "exec psql -XqAt -v ON_ERROR_STOP=1 -h 127.0.0.1 -U postgres " + more,
                  directory_->file("feed")});
  };
  auto ask_other = [&](const std::string& what) {
    Result<Running> other = psql("-c '" + what + "'");
    Result<Ran> ran = other ? other->wait() : Result<Ran>(other.error());
    return ran ? ran->out + ran->err : ran.error().describe();
  };
  ASSERT_OK_AND_ASSIGN(Feed feed, Feed::create(directory_->file("feed")));
  ASSERT_OK_AND_ASSIGN(Running client, psql("<\"$0\""));
  ASSERT_TRUE(
      feed.write("CREATE TABLE numbers (n int);\n"
                 "SELECT pg_backend_pid();\n"
                 "BEGIN;\n"
                 "INSERT INTO numbers VALUES (1) RETURNING n;\n"));
  ASSERT_THAT(wait_until("it is in a transaction", Deadline::after(kPatience),
                         [&] { return client.out().ends_with("\n1\n"); }),
              IsOk())
      << client.out() << client.err() << server.err();
  const std::string backend = client.out().substr(0, client.out().find('\n'));
  EXPECT_EQ(ask_other("SELECT count(*) FROM numbers"), "0\n") << "it has not been committed";

  renew_both(std::stoi(backend), client.pid(), [&] {
    ASSERT_TRUE(feed.write("INSERT INTO numbers VALUES (20), (300) RETURNING n;\n"));
  });
  ASSERT_TRUE(
      feed.write("INSERT INTO numbers VALUES (4000);\n"
                 "COMMIT;\n"
                 "SELECT pg_backend_pid();\n"));
  feed.end();
  ASSERT_OK_AND_ASSIGN(Ran ended, client.wait());
  EXPECT_EQ(ended.status, 0) << ended.err;
  EXPECT_EQ(ended.out, backend + "\n1\n20\n300\n" + backend + "\n") << ended.err;
  EXPECT_EQ(ask_other("SELECT sum(n) FROM numbers"), "4321\n");
  server.signal(SIGINT);  // ends its other processes, too
  EXPECT_THAT(server.wait(), IsOk());
}

}  // namespace
}  // namespace sockrepair::test
