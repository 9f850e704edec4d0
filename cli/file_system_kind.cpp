#include "cli/file_system_kind.h"

#include <fmt/format.h>
#include <sys/vfs.h>

#include <cerrno>
#include <cstdint>
#include <cstring>

namespace holdfast::cli {

namespace {

struct Known {
  uint32_t magic;  // statfs(2), f_type
  FileSystemKind kind;
  const char* name;
};

constexpr Known kKnown[] = {
    {0xEF53, FileSystemKind::kLocal, "ext4"},
    {0x58465342, FileSystemKind::kLocal, "XFS"},
    {0x01021994, FileSystemKind::kMemory, "tmpfs"},
    {0x858458F6, FileSystemKind::kMemory, "ramfs"},
    {0x9123683E, FileSystemKind::kCopyOnWrite, "btrfs"},
    {0x2FC12FC1, FileSystemKind::kCopyOnWrite, "ZFS"},
    {0xCA451A4E, FileSystemKind::kCopyOnWrite, "bcachefs"},
    {0x6969, FileSystemKind::kNetwork, "NFS"},
    {0x517B, FileSystemKind::kNetwork, "SMB"},
    {0xFE534D42, FileSystemKind::kNetwork, "SMB2"},
    {0xFF534D42, FileSystemKind::kNetwork, "CIFS"},
    {0x00C36400, FileSystemKind::kNetwork, "Ceph"},
    {0x01021997, FileSystemKind::kNetwork, "9p"},
    {0x5346414F, FileSystemKind::kNetwork, "AFS"},
    {0x0BD00BD0, FileSystemKind::kNetwork, "Lustre"},
    {0x47504653, FileSystemKind::kNetwork, "GPFS"},
    {0x7461636F, FileSystemKind::kNetwork, "OCFS2"},
};

}  // namespace

Result<FileSystemFacts> InspectFileSystem(const std::string& directory) {
  struct statfs facts {};
  if (statfs(directory.c_str(), &facts) != 0) {
    return Error{ErrorCode::kIo, fmt::format("{}: statfs: {}", directory, std::strerror(errno))};
  }
  const auto magic = static_cast<uint32_t>(facts.f_type);
  for (const Known& known : kKnown) {
    if (known.magic == magic) return FileSystemFacts{known.kind, known.name};
  }
  return FileSystemFacts{FileSystemKind::kLocal, fmt::format("{:#x}", magic)};
}

}  // namespace holdfast::cli
