// The data directory: lock, node identity, generations.
//
//   LOCK        flock'ed while a server runs; holds the node id, the directory's inode and the machine id
//   CURRENT     name of the generation in force, with a checksum; replacing it is the commit point of full sync,
//               restore and import
//   gen-<n>/    {lmdb, run, wal}: everything of one history
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "storage/base/clock.h"
#include "storage/base/file.h"
#include "storage/base/result.h"

namespace holdfast::wal {

struct NodeIdentity {
  std::string node_id;  // 40 hex digits, made once
  bool copied = false;  // the directory was copied from elsewhere (inode or machine id differ): new id was made
};

class DataDirectory {
 public:
  // Locks the directory (creating it), reads or makes the identity, resolves CURRENT, deletes generations not named
  // and what a crash left unfinished. kBusy if another process has it; kCorruption if CURRENT is damaged, names what is
  // not there, or is missing although a generation was committed here once. `random` must outlive the object.
  static Result<std::unique_ptr<DataDirectory>> Open(FileSystem& fs, std::string path, Random& random);
  // Locks a directory that has a generation in force, for a tool that makes another one: the identity stays as it is,
  // so that the next server still sees whether the directory was copied, and nothing is deleted. kNotFound without
  // CURRENT; else as Open.
  static Result<std::unique_ptr<DataDirectory>> OpenExisting(FileSystem& fs, std::string path, Random& random);
  // Locks a directory whose CURRENT is damaged or missing, for a tool that names one of Generations() again by Commit;
  // generation_path() is "". Nothing is deleted. kAlreadyExists if CURRENT is good; else as Open.
  static Result<std::unique_ptr<DataDirectory>> OpenWithoutCurrent(FileSystem& fs, std::string path, Random& random);
  virtual ~DataDirectory() = default;

  [[nodiscard]] virtual const std::string& path() const = 0;
  [[nodiscard]] virtual const NodeIdentity& identity() const = 0;
  // Path of the generation in force; an empty data directory gets gen-1 (not yet committed until Commit).
  [[nodiscard]] virtual const std::string& generation_path() const = 0;
  [[nodiscard]] virtual bool fresh() const = 0;  // there was no CURRENT
  // Names of the generations there are.
  virtual Result<std::vector<std::string>> Generations() = 0;
  // An empty directory for a generation being built beside the current one (full sync); its number is above all others.
  virtual Result<std::string> NewGeneration() = 0;
  // Makes `generation_path` the one in force: everything in it must be synced before. Old ones are removed by
  // RemoveOldGenerations once nobody has them open. kIo and kNoSpace: the old one is still in force, or the new one
  // already; both are whole.
  virtual Result<void> Commit(const std::string& generation_path) = 0;
  virtual Result<void> RemoveOldGenerations() = 0;
};

// Path of the generation that CURRENT of `data_directory` names, for tools that must not lock or change anything.
// kNotFound without CURRENT; kCorruption if it is damaged.
Result<std::string> ReadCurrentGeneration(FileSystem& fs, const std::string& data_directory);

}  // namespace holdfast::wal
