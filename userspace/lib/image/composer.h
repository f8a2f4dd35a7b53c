// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_LIB_IMAGE_COMPOSER_H_
#define SOCKREPAIR_LIB_IMAGE_COMPOSER_H_

#include <google/protobuf/message.h>

#include "image/record.h"
#include "image/tables.h"
#include "sockrepair/image.h"

namespace sockrepair::internal {

// Values into records, in the order of ImageParser. Every value is checked by what ImageParser
// checks it with before a byte of it goes out; the error names it. After an error the records are
// of no use.
class ImageComposer {
 public:
  explicit ImageComposer(ByteSink& sink) : records_(sink) {}

  // Once, before the first entry.
  Result<void> begin();
  Result<void> add(const ImageProcess& process);
  Result<void> add(const ImageSocket& entry);
  Result<void> add(const TcpTimeWait& connection);
  // Once, after the last entry.
  Result<void> end();

 private:
  template <typename Struct>
  Result<void> add_record(RecordType type, const Struct& value);
  Result<void> add_message(RecordType type, const google::protobuf::Message& message);
  template <typename Socket>
  Result<void> add_socket(const ImageSocket& entry, const Socket& socket);
  // What follows the losses.
  Result<void> add_rest(const UdpSocket& socket);
  Result<void> add_rest(const TcpSocket& socket);
  Result<void> add_stream(std::span<const std::uint8_t> bytes);
  template <typename Packet>
  Result<void> add_queue(Direction direction, std::span<const Packet> packets);
  template <typename Packet>
  Result<void> add_packet(const Packet& packet, std::size_t index);

  RecordWriter records_;
  ImageTotals totals_;
  bool sockets_end_ = false;  // those of the last process
};

}  // namespace sockrepair::internal

#endif  // SOCKREPAIR_LIB_IMAGE_COMPOSER_H_
