// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_LIB_IMAGE_PARSER_H_
#define SOCKREPAIR_LIB_IMAGE_PARSER_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "image/record.h"
#include "image/tables.h"
#include "sockrepair/image.h"

namespace sockrepair::internal {

// Records into values: the order of the records, and everything that has to be so of an image.
//
//   image   = header { process } end
//   process = ProcessEntry { socket } { TcpTimeWaitEntry }
//   socket  = UdpSocketEntry { LossEntry } queue queue | TcpSocketEntry { LossEntry } stream stream
//   queue   = UdpQueueEntry { UdpPacketEntry data }
//   stream  = { data }
//   end     = EndEntry
class ImageParser {
 public:
  explicit ImageParser(ByteSource& source) : records_(source) {}

  // Once, before next().
  Result<void> begin();
  // The next entry; nothing once the end was found to be right. After an error `entry` is of no
  // use, and this is not to be called again.
  Result<void> next(std::optional<ImageEntry>* entry);

  // What was read so far.
  ImageSummary summary() const;
  // Of all bytes so far: the same bytes have the same.
  std::uint32_t checksum() const { return records_.checksum(); }

 private:
  Result<void> expect(RecordType type);
  template <typename Message>
  Result<void> parse(Message* message);
  template <typename Struct>
  Result<void> decode_record(Struct* value);

  Result<void> read_process(ImageProcess* process);
  template <typename Socket>
  Result<void> read_socket(ImageSocket* entry);
  Result<void> read_time_wait(TcpTimeWait* connection);
  Result<void> read_losses(std::uint32_t count, std::vector<Loss>* losses);
  // What follows the losses. `place` is where the record of the socket was.
  Result<void> read_rest(const std::string& place, const UdpCounts& counts, UdpSocket* socket);
  Result<void> read_rest(const std::string& place, const TcpCounts& counts, TcpSocket* socket);
  Result<void> read_stream(std::uint32_t length, Bytes* stream);
  Result<void> read_queue(Direction direction, UdpSocket* socket);
  // A packet and its payload; the bytes of payload.
  Result<std::size_t> read_packet(Direction direction, std::size_t index, UdpSocket* socket);
  Result<void> read_payload(std::uint32_t length, Bytes* payload);
  // A data record; `must_be` says why it has to be as long.
  Result<void> read_data(std::uint32_t length, const char* must_be);
  Result<void> read_end();

  Error misplaced(const std::string& must_be) const;

  RecordReader records_;
  Record record_;
  ImageTotals totals_;
  bool sockets_end_ = false;  // those of the last process
  bool ended_ = false;
};

// Whether the library can restore the packet, as far as that does not depend on the socket; `index`
// is its place in the queue. The error names the member and its limit.
Result<void> check_packet(const SendQueue& queue, std::size_t index);
Result<void> check_packet(const ReceivedDatagram& datagram, std::size_t index);

}  // namespace sockrepair::internal

#endif  // SOCKREPAIR_LIB_IMAGE_PARSER_H_
