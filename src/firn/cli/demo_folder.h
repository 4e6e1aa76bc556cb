// DemoFolder: the folder that `firn demo` fills: configuration, catalog, warehouse, and scripts that query the tables.
//
// Holds a marker file; a folder that has things in it and no marker is somebody's own and is left alone. One thread.
#pragma once

#include <string>

#include "firn/base/error.h"

namespace firn::cli {

inline constexpr const char* kDemoPipeline = "firn-demo";
inline constexpr const char* kDemoTopic = "network-events";
inline constexpr const char* kDemoTable = "demo.network_activity";
inline constexpr const char* kDemoRejects = "demo.rejects";

class DemoFolder {
 public:
  // Makes the folder, or clears what an earlier demo left in it. kAlreadyExists: not empty and not a demo's.
  static Result<DemoFolder> Prepare(const std::string& path);

  // Writes firn.yaml for brokers at `bootstrap`; the configuration is also what the demo itself runs by.
  Status WriteConfig(const std::string& bootstrap) const;
  // Writes the two query scripts; `metadata_location` is the table's newest metadata file.
  Status WriteQueries(const std::string& metadata_location) const;

  std::string config_path() const { return path_ + "/firn.yaml"; }
  std::string warehouse() const { return path_ + "/warehouse"; }
  const std::string& path() const { return path_; }         // absolute
  const std::string& shown_path() const { return shown_; }  // as the user wrote it

 private:
  Status WriteFile(const std::string& name, const std::string& text) const;

  std::string path_;
  std::string shown_;
};

// How to run the scripts, for a terminal: lines that can be pasted.
std::string DemoQueryCommands(const DemoFolder& folder);

}  // namespace firn::cli
