// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "libbpf.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/capability.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <memory>
#include <mutex>
#include <string>

#include "shared_library.h"
#include "sockrepair/fd.h"
#include "try.h"

#ifndef CAP_PERFMON
#define CAP_PERFMON 38
#endif
#ifndef CAP_BPF
#define CAP_BPF 39
#endif

namespace sockrepair::internal {

namespace {

constexpr char kLibrary[] = "libbpf.so.1";
constexpr char kRights[] =
    "BPF takes CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN, in the first user namespace";
constexpr char kKernelTypes[] = "/sys/kernel/btf/vmlinux";

// The functions of the library that are used.
struct Library {
  decltype(&::bpf_object__open_mem) object_open_mem = nullptr;
  decltype(&::bpf_object__load) object_load = nullptr;
  decltype(&::bpf_object__close) object_close = nullptr;
  decltype(&::bpf_object__find_program_by_name) find_program_by_name = nullptr;
  decltype(&::bpf_program__attach_iter) attach_iter = nullptr;
  decltype(&::bpf_link__fd) link_fd = nullptr;
  decltype(&::bpf_link__destroy) link_destroy = nullptr;
  decltype(&::bpf_iter_create) iter_create = nullptr;
  decltype(&::libbpf_set_print) set_print = nullptr;
};

// Held while the library is called: who it prints to is the same for all threads.
std::mutex library_mutex;

Result<Library> load_library() {
  SOCKREPAIR_TRY_ASSIGN(SharedLibrary shared, SharedLibrary::open(kLibrary));
  Library library;
  SOCKREPAIR_TRY(shared.find("bpf_object__open_mem", library.object_open_mem));
  SOCKREPAIR_TRY(shared.find("bpf_object__load", library.object_load));
  SOCKREPAIR_TRY(shared.find("bpf_object__close", library.object_close));
  SOCKREPAIR_TRY(shared.find("bpf_object__find_program_by_name", library.find_program_by_name));
  SOCKREPAIR_TRY(shared.find("bpf_program__attach_iter", library.attach_iter));
  SOCKREPAIR_TRY(shared.find("bpf_link__fd", library.link_fd));
  SOCKREPAIR_TRY(shared.find("bpf_link__destroy", library.link_destroy));
  SOCKREPAIR_TRY(shared.find("bpf_iter_create", library.iter_create));
  SOCKREPAIR_TRY(shared.find("libbpf_set_print", library.set_print));
  return library;
}

// What the library would say only as a failure of something later.
Result<void> check_kernel_types() {
  if (::access(kKernelTypes, R_OK) == 0) return {};
  if (errno != ENOENT) return Error{errno, std::string("access(") + kKernelTypes + ")"};
  return Error{EOPNOTSUPP, std::string("no ") + kKernelTypes +
                               ": the kernel tells nothing of its types "
                               "(CONFIG_DEBUG_INFO_BTF), or /sys is not mounted"};
}

Result<void> check_rights() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> data{};
  if (::syscall(SYS_capget, &header, data.data()) != 0) return Error{errno, "capget()"};
  auto has = [&](unsigned capability) {
    return (data[capability / 32].effective & 1U << (capability % 32)) != 0;
  };
  if (has(CAP_SYS_ADMIN)) return {};
  struct Right {
    unsigned capability;
    const char* name;
  };
  for (const Right& right : {Right{CAP_BPF, "CAP_BPF"}, Right{CAP_PERFMON, "CAP_PERFMON"}}) {
    if (has(right.capability)) continue;
    return Error{EPERM, std::string(kRights) + "; " + right.name +
                            " is not among the effective capabilities"};
  }
  return {};
}

// What the library says while an object of this class lives goes into it, if this thread made it
// say so: the first warning, of which the others are consequences.
class Listener {
 public:
  explicit Listener(const Library& library) : library_(library) {
    heard_.clear();
    listening_ = true;
    before_ = library_.set_print(&Listener::print);
  }
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;
  ~Listener() {
    library_.set_print(before_);
    listening_ = false;
  }

  static const std::string& heard() { return heard_; }

 private:
  static int print(libbpf_print_level level, const char* format, va_list arguments) {
    if (!listening_) return before_ == nullptr ? 0 : before_(level, format, arguments);
    if (level != LIBBPF_WARN || !heard_.empty()) return 0;
    std::array<char, 512> line{};
    const int length = vsnprintf(line.data(), line.size(), format, arguments);
    if (length > 0) heard_ = line.data();
    while (!heard_.empty() && heard_.back() == '\n') heard_.pop_back();
    return length;
  }

  static thread_local std::string heard_;
  static thread_local bool listening_;
  // Written and read with library_mutex held, or by who prints meanwhile.
  static libbpf_print_fn_t before_;

  const Library& library_;
};
thread_local std::string Listener::heard_;
thread_local bool Listener::listening_ = false;
libbpf_print_fn_t Listener::before_ = nullptr;

Error failure(int code, const char* what) {
  const std::string& heard = Listener::heard();
  return Error{code, std::string(what) + (heard.empty() ? "" : ": " + heard)};
}

Result<std::vector<std::uint8_t>> read_all(const Fd& fd) {
  std::vector<std::uint8_t> all;
  std::array<std::uint8_t, 16384> part;
  for (;;) {
    const ssize_t size = ::read(fd.get(), part.data(), part.size());
    if (size == 0) return all;
    // Nothing was written meanwhile: the same again.
    if (size < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (size < 0) return Error{errno, "read() of a BPF iterator"};
    all.insert(all.end(), part.begin(), part.begin() + size);
  }
}

Result<std::vector<std::uint8_t>> run(const Library& library, std::span<const std::uint8_t> bytes,
                                      const char* name) {
  Listener listener(library);
  using Object = std::unique_ptr<bpf_object, decltype(library.object_close)>;
  Object object(library.object_open_mem(bytes.data(), bytes.size(), nullptr), library.object_close);
  if (object == nullptr) return failure(errno, "bpf_object__open_mem()");
  bpf_program* program = library.find_program_by_name(object.get(), name);
  if (program == nullptr) return failure(ENOENT, name);
  if (const int error = library.object_load(object.get()); error != 0) {
    if (error == -EPERM) return Error{EPERM, std::string(kRights) + "; bpf(2) refuses it"};
    // What it finds missing in the kernel's types: an iterator, a helper, a structure.
    const bool lacks = error == -ESRCH || error == -EINVAL;
    return failure(lacks ? EOPNOTSUPP : -error, "bpf_object__load()");
  }
  using Link = std::unique_ptr<bpf_link, decltype(library.link_destroy)>;
  Link link(library.attach_iter(program, nullptr), library.link_destroy);
  if (link == nullptr) return failure(errno, "bpf_program__attach_iter()");
  Fd fd(library.iter_create(library.link_fd(link.get())));
  if (!fd) return failure(errno, "bpf_iter_create()");
  return read_all(fd);
}

}  // namespace

Result<std::vector<std::uint8_t>> run_bpf_iterator(std::span<const std::uint8_t> object,
                                                   const char* program) {
  SOCKREPAIR_TRY(check_kernel_types());
  SOCKREPAIR_TRY(check_rights());
  std::lock_guard<std::mutex> guard(library_mutex);
  SOCKREPAIR_TRY_ASSIGN(Library library, load_library());
  return run(library, object, program);
}

}  // namespace sockrepair::internal
