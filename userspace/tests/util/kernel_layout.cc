// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "util/kernel_layout.h"

#include <bpf/btf.h>
#include <errno.h>
#include <string.h>

#include <algorithm>
#include <memory>

#include "try.h"

namespace sockrepair::test {

namespace {

struct FreeBtf {
  void operator()(btf* types) const { btf__free(types); }
};

class Walk {
 public:
  Walk(const btf* types, std::span<const char* const> bases) : types_(types), bases_(bases) {}

  Result<void> add(std::uint32_t id, const std::string& path, std::uint32_t bit_offset,
                   std::uint32_t bitfield) {
    const btf_type* type = resolve(id);
    switch (btf_kind(type)) {
      case BTF_KIND_STRUCT:
        for (std::uint32_t i = 0; i < btf_vlen(type); ++i)
          SOCKREPAIR_TRY(add_member(type, i, path, bit_offset));
        return {};
      case BTF_KIND_UNION:
        return add_union(type, path, bit_offset);
      case BTF_KIND_ARRAY:
        return add_array(btf_array(type), path, bit_offset);
      default:
        break;
    }
    const long long bytes = btf__resolve_size(types_, id);
    const std::uint32_t bits = bitfield ? bitfield : static_cast<std::uint32_t>(bytes * 8);
    if (bytes < 0 || bits > 64) return Error{EPROTO, "type of " + path};
    members_.push_back({path, bit_offset, bits, btf_is_ptr(type)});
    return {};
  }

  std::vector<KernelMember> members_;

 private:
  const btf_type* resolve(std::uint32_t& id) const {
    const btf_type* type = btf__type_by_id(types_, id);
    while (btf_is_mod(type) || btf_is_typedef(type)) {
      id = type->type;
      type = btf__type_by_id(types_, id);
    }
    return type;
  }

  std::string join(const std::string& path, const char* name) const {
    const bool base = std::any_of(bases_.begin(), bases_.end(),
                                  [name](const char* one) { return strcmp(one, name) == 0; });
    if (base || name[0] == '\0') return path;
    return path.empty() ? name : path + "." + name;
  }

  Result<void> add_member(const btf_type* type, std::uint32_t index, const std::string& path,
                          std::uint32_t bit_offset) {
    const btf_member& member = btf_members(type)[index];
    return add(member.type, join(path, btf__name_by_offset(types_, member.name_off)),
               bit_offset + btf_member_bit_offset(type, index),
               btf_member_bitfield_size(type, index));
  }

  Result<void> add_union(const btf_type* type, const std::string& path, std::uint32_t bit_offset) {
    std::uint32_t largest = 0;
    for (std::uint32_t i = 1; i < btf_vlen(type); ++i) {
      if (btf__resolve_size(types_, btf_members(type)[i].type) >
          btf__resolve_size(types_, btf_members(type)[largest].type))
        largest = i;
    }
    if (btf_vlen(type) == 0) return {};
    return add_member(type, largest, path, bit_offset);
  }

  Result<void> add_array(const struct btf_array* array, const std::string& path,
                         std::uint32_t bit_offset) {
    const long long bytes = btf__resolve_size(types_, array->type);
    if (bytes < 0) return Error{EPROTO, "type of " + path};
    for (std::uint32_t i = 0; i < array->nelems; ++i) {
      SOCKREPAIR_TRY(add(array->type, path + "[" + std::to_string(i) + "]",
                         bit_offset + static_cast<std::uint32_t>(bytes * 8) * i, 0));
    }
    return {};
  }

  const btf* types_;
  std::span<const char* const> bases_;
};

std::uint64_t mask(std::uint32_t bits) {
  return ~std::uint64_t{0} >> (64 - bits);
}

}  // namespace

// Every member lies within the eight bytes from its first one on.
std::uint64_t KernelMember::value(std::span<const std::uint8_t> structure) const {
  const std::size_t at = bit_offset / 8;
  std::uint64_t word = 0;
  memcpy(&word, structure.data() + at, std::min(sizeof(word), structure.size() - at));
  return word >> bit_offset % 8 & mask(bits);
}

void KernelMember::set_value(std::span<std::uint8_t> structure, std::uint64_t value) const {
  const std::size_t at = bit_offset / 8;
  const std::size_t length = std::min(sizeof(std::uint64_t), structure.size() - at);
  std::uint64_t word = 0;
  memcpy(&word, structure.data() + at, length);
  word &= ~(mask(bits) << bit_offset % 8);
  word |= (value & mask(bits)) << bit_offset % 8;
  memcpy(structure.data() + at, &word, length);
}

Result<KernelLayout> KernelLayout::load(const std::string& structure,
                                        std::span<const char* const> bases) {
  std::unique_ptr<btf, FreeBtf> types(btf__load_vmlinux_btf());
  if (!types) return Error{errno, "load of the kernel's type information"};
  const std::int32_t id = btf__find_by_name_kind(types.get(), structure.c_str(), BTF_KIND_STRUCT);
  if (id < 0) return Error{ENOENT, "struct " + structure};
  Walk walk(types.get(), bases);
  SOCKREPAIR_TRY(walk.add(static_cast<std::uint32_t>(id), "", 0, 0));
  KernelLayout layout;
  layout.members_ = std::move(walk.members_);
  layout.size_ = static_cast<std::size_t>(btf__resolve_size(types.get(), id));
  return layout;
}

const KernelMember* KernelLayout::find(std::string_view path) const {
  const auto at = std::find_if(members_.begin(), members_.end(),
                               [path](const KernelMember& one) { return one.path == path; });
  return at == members_.end() ? nullptr : &*at;
}

}  // namespace sockrepair::test
