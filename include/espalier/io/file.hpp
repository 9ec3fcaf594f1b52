#pragma once
// Reading and replacing whole files, on POSIX calls alone (<filesystem> and <fstream> cost every includer more than all
// of this).
//
// Reading: regular files only, exactly the bytes that were there when the file was opened, and errors that name the
// file and the byte. Saving: a reader finds the old file or the new one, complete, whatever happens in between. A
// temporary beside the target is written, synced, renamed over it, and the directory is synced; any failure removes the
// temporary and throws. What a process leaves that was killed meanwhile, `.name.tmp.0`, goes with the next save to the name.

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <ctime>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "espalier/core/error.hpp"

namespace espalier::inline ESPALIER_ABI {

/// Throws FileError `<file>, byte <offset>: <parts>`.
template <class... Parts>
[[noreturn]] __attribute__((noinline, cold)) void fail_file(std::string_view file, std::uint64_t offset,
                                                            const Parts&... parts) {
  throw FileError(join(file, ", byte ", offset, ": ", parts...));
}

/// `"text"` for a message, cut to 80 bytes; other than printable ASCII shows as `\xNN`, as a file may hold anything.
template <class Lazy = void>
std::string in_quotes(std::string_view text) {
  std::string out = "\"";
  for (char c : text.substr(0, 80)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7F) {
      out += c;
    } else {
      out += "\\x";
      out += "0123456789ABCDEF"[byte >> 4];
      out += "0123456789ABCDEF"[byte & 15];
    }
  }
  return out + (text.size() > 80 ? "...\"" : "\"");
}

namespace detail {

inline std::string system_reason(int code) { return std::system_category().message(code); }

inline constexpr std::size_t largest_transfer = std::size_t{1} << 30;  // some systems refuse 2 GiB in one call

/// A path that the system would read differently from how it is written must not reach it.
template <class Lazy = void>
void check_path(const std::string& path) {
  if (path.empty()) throw FileError("the path of the file is empty");
  if (path.find('\0') != std::string::npos) throw FileError(join(in_quotes(path), ": the path holds a NUL byte"));
}

template <class Lazy = void>
void check_regular(const std::string& path, const struct stat& status) {
  if (S_ISREG(status.st_mode)) return;
  const char* kind = S_ISDIR(status.st_mode)    ? "a directory"
                     : S_ISFIFO(status.st_mode) ? "a pipe"
                     : S_ISSOCK(status.st_mode) ? "a socket"
                                                : "a device";
  throw FileError(join(path, ": is ", kind, "; a regular file is needed"));
}

}  // namespace detail

/// A regular file being read from its start. Its size is the one at opening; a file that changes meanwhile is an error.
class InputFile {
 public:
  /// Opens `path`; throws FileError when that fails or when it is a directory, a pipe or a device.
  template <class Lazy = void>
  explicit InputFile(const std::string& path) : name_(path), handle_(open(path)) {
    struct stat status {};
    if (::fstat(handle_.descriptor, &status) != 0)
      throw FileError(join(name_, ": cannot be examined: ", detail::system_reason(errno)));
    detail::check_regular(name_, status);
    size_ = static_cast<std::uint64_t>(status.st_size);
  }
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  const std::string& name() const { return name_; }
  std::uint64_t size() const { return size_; }
  /// Offset of the next byte.
  std::uint64_t position() const { return position_; }

  /// Fills `out` with the next bytes; throws FileError when there are fewer.
  template <class Lazy = void>
  void read(std::span<std::byte> out) {
    while (!out.empty()) {
      const std::size_t taken = read_some(out);
      if (taken == 0) fail_file(name_, position_, "the file ends here; it had ", size_, " bytes when it was opened");
      out = out.subspan(taken);
    }
  }

  /// Throws FileError unless all bytes have been read and none has been added since the file was opened.
  template <class Lazy = void>
  void finish() {
    std::byte extra{};
    if (read_some({&extra, 1}) != 0)
      fail_file(name_, position_ - 1, "more bytes follow; the file had ", size_, " bytes when it was opened");
  }

 private:
  struct Handle {
    explicit Handle(int d) : descriptor(d) {}
    Handle(const Handle&) = delete;
    Handle& operator=(const Handle&) = delete;
    ~Handle() { ::close(descriptor); }
    int descriptor;
  };

  template <class Lazy = void>
  static int open(const std::string& path) {
    detail::check_path(path);
    // Without O_NONBLOCK, opening a pipe would wait for its writer.
    const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (descriptor < 0) throw FileError(join(path, ": cannot be opened: ", detail::system_reason(errno)));
    return descriptor;
  }

  template <class Lazy = void>
  std::size_t read_some(std::span<std::byte> out) {
    const std::size_t most = out.size() < detail::largest_transfer ? out.size() : detail::largest_transfer;
    ssize_t taken = 0;
    do {
      taken = ::read(handle_.descriptor, out.data(), most);
    } while (taken < 0 && errno == EINTR);
    if (taken < 0) fail_file(name_, position_, "cannot be read: ", detail::system_reason(errno));
    position_ += static_cast<std::uint64_t>(taken);
    return static_cast<std::size_t>(taken);
  }

  std::string name_;
  Handle handle_;
  std::uint64_t size_ = 0;
  std::uint64_t position_ = 0;
};

/// The whole file; throws FileError when it has more than `limit` bytes, before anything is allocated for it.
template <class Lazy = void>
std::string read_file(const std::string& path, std::uint64_t limit) {
  InputFile file(path);
  if (file.size() > limit) throw FileError(join(path, ": has ", file.size(), " bytes; at most ", limit, " are read"));
  std::string text(static_cast<std::size_t>(file.size()), '\0');
  file.read(std::as_writable_bytes(std::span(text)));
  file.finish();
  return text;
}

namespace detail {

/// The system calls of a save. A test passes a type of its own to fail, shorten or stop at any one of them.
struct SystemCalls {
  int open(const char* path, int flags, mode_t mode) { return ::open(path, flags, mode); }
  ssize_t write(int descriptor, const void* bytes, std::size_t size) { return ::write(descriptor, bytes, size); }
  int fsync(int descriptor) { return ::fsync(descriptor); }
  int close(int descriptor) { return ::close(descriptor); }
  int rename(const char* from, const char* to) { return ::rename(from, to); }
  int unlink(const char* path) { return ::unlink(path); }
};

template <class Lazy = void>
[[noreturn]] void fail_save(const std::string& path, std::string_view step, int code) {
  throw FileError(join(path, ": cannot be saved: ", step, ": ", system_reason(code), "; what was there is untouched"));
}

/// Removes a temporary that nobody holds a lock on: its process is dead, on whatever machine it was. The lock that is taken
/// here keeps every other process from doing the same at once, and then removing a new file of that name.
template <class Lazy = void>
[[gnu::cold]] bool remove_abandoned(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (descriptor < 0) return false;
  struct stat locked {}, named {};
  const bool gone = ::flock(descriptor, LOCK_EX | LOCK_NB) == 0 && ::fstat(descriptor, &locked) == 0 &&
                    ::lstat(path.c_str(), &named) == 0 && S_ISREG(named.st_mode) && locked.st_dev == named.st_dev &&
                    locked.st_ino == named.st_ino && ::unlink(path.c_str()) == 0;
  ::close(descriptor);
  return gone;
}

/// A new file beside the target, removed again unless it is renamed, and locked as long as its process lives. Small pieces
/// are gathered into larger writes.
template <class Calls>
class Temporary {
 public:
  /// `path` is what the caller asked for (messages name it), `target` the file it leads to.
  Temporary(Calls& calls, const std::string& path, const std::string& directory, std::string_view name, mode_t mode)
      : calls_(calls), path_(path) {
    pending_.reserve(block);
    const std::string stem = join(directory, "/.", name.substr(0, 200), ".tmp.");
    int number = 0;
    for (int tries = 0;; ++tries) {
      temporary_ = number < 8 ? stem + std::to_string(number) : unlike_any(stem, number);
      descriptor_ = calls_.open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
      int code = errno;
      if (descriptor_ >= 0) {
        if (claim()) break;
        ::close(descriptor_);  // another process took it for an abandoned one before it was locked
        descriptor_ = -1;
        code = EEXIST;
        ++number;
      } else if (code == EEXIST && !remove_abandoned(temporary_)) {
        ++number;
      }
      if (code != EEXIST || tries == 100) {
        temporary_.clear();
        fail_save(path_, "creating a temporary file beside it", code);
      }
    }
    if (number < 7) remove_abandoned(stem + std::to_string(number + 1));  // from when several processes saved at once
    held_ = ::fcntl(descriptor_, F_DUPFD_CLOEXEC, 0);  // the lock lasts to the renaming, which comes after the closing
  }
  Temporary(const Temporary&) = delete;
  Temporary& operator=(const Temporary&) = delete;
  ~Temporary() {  // without the lock, the name might be another process's by now
    if (!temporary_.empty()) calls_.unlink(temporary_.c_str());
    if (descriptor_ >= 0) calls_.close(descriptor_);
    if (held_ >= 0) ::close(held_);
  }

  int descriptor() const { return descriptor_; }

  void write(std::span<const std::byte> bytes) {
    if (pending_.size() + bytes.size() > block) flush();
    if (bytes.size() > block) return write_through(bytes);
    pending_.insert(pending_.end(), bytes.begin(), bytes.end());
  }

  /// Makes the bytes durable, then moves them to `target`. A failed fsync is final: the kernel may have dropped the
  /// pages, so that a second one would report success for bytes that are lost.
  void commit(const std::string& target) {
    flush();
    if (calls_.fsync(descriptor_) != 0) fail_save(path_, "fsync", errno);
    const int descriptor = descriptor_;
    descriptor_ = -1;
    if (calls_.close(descriptor) != 0) fail_save(path_, "close", errno);
    if (calls_.rename(temporary_.c_str(), target.c_str()) != 0) fail_save(path_, "rename", errno);
    temporary_.clear();
  }

 private:
  static constexpr std::size_t block = std::size_t{1} << 16;

  /// For a folder whose file system knows no locks, and is full of what dead processes left.
  [[gnu::cold]] static std::string unlike_any(const std::string& stem, int number) {
    struct timespec now {};
    ::clock_gettime(CLOCK_REALTIME, &now);
    return join(stem, ::getpid(), '.', now.tv_sec, '.', now.tv_nsec + number);
  }
  /// Locks the new file, where files can be locked; false when it is not ours any more.
  bool claim() const {
    if (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) return false;
    struct stat status {};
    return ::fstat(descriptor_, &status) != 0 || status.st_nlink > 0;
  }

  void flush() {
    write_through(pending_);
    pending_.clear();
  }
  void write_through(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const std::size_t most = bytes.size() < largest_transfer ? bytes.size() : largest_transfer;
      const ssize_t written = calls_.write(descriptor_, bytes.data(), most);
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) fail_save(path_, "write", written == 0 ? EIO : errno);
      bytes = bytes.subspan(static_cast<std::size_t>(written));
    }
  }

  Calls& calls_;
  const std::string& path_;
  std::string temporary_;
  std::vector<std::byte> pending_;
  int descriptor_ = -1;
  int held_ = -1;  // the same file once more
};

/// Some filesystems cannot sync a directory and say so by EINVAL: nothing more can be done there.
template <class Calls>
void sync_directory(Calls& calls, const std::string& path, const std::string& directory) {
  const int descriptor = calls.open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
  int code = descriptor < 0 ? errno : 0;
  if (descriptor >= 0 && calls.fsync(descriptor) != 0 && errno != EINVAL) code = errno;
  if (descriptor >= 0) calls.close(descriptor);
  if (code != 0)
    throw FileError(join(path, ": saved, but its directory cannot be synced: ", system_reason(code),
                         "; the new file may not survive a power cut"));
}

}  // namespace detail

/// Throws FileError where `replace_file` would fail for the path: before a long run, not after it. Writes nothing. A later
/// save may fail all the same, as the disk fills or a folder goes.
template <class Lazy = void>
[[gnu::cold]] void check_replaceable(const std::string& path) {
  detail::check_path(path);
  struct stat status {};
  if (::stat(path.c_str(), &status) == 0) detail::check_regular(path, status);
  std::string target = path;
  if (char* real = ::realpath(path.c_str(), nullptr)) {
    target = real;
    ::free(real);
  }
  if (target.back() == '/') throw FileError(join(path, ": cannot be saved: the path ends in '/'; it must name a file"));
  const std::size_t slash = target.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : slash == 0 ? "/" : target.substr(0, slash);
  if (::access((folder + '/').c_str(), W_OK | X_OK) != 0)  // a file is none
    throw FileError(join(path, ": cannot be saved: its folder ", in_quotes(folder), ": ", detail::system_reason(errno)));
}

/// Whether the path leads to anything.
template <class Lazy = void>
bool file_exists(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0;
}

/// Whether both paths lead to one existing file, by whatever names; false where one leads to none.
template <class Lazy = void>
[[gnu::cold]] bool same_file(const std::string& a, const std::string& b) {
  struct stat first {}, second {};
  return ::stat(a.c_str(), &first) == 0 && ::stat(b.c_str(), &second) == 0 && first.st_dev == second.st_dev &&
         first.st_ino == second.st_ino;
}

/// Replaces (or creates) the file `path` by `parts`, one after another, so that a crash at any point leaves the old
/// file or the new one, complete. An existing file keeps its permissions, a symbolic link its place: the file it leads
/// to is replaced. Throws FileError when it is no regular file or anything fails; the old file is then untouched,
/// unless the message says that only the directory's sync failed.
template <class Calls = detail::SystemCalls>
void replace_file(const std::string& path, std::span<const std::span<const std::byte>> parts, Calls calls = {}) {
  detail::check_path(path);
  std::string target = path;
  mode_t mode = 0666;
  struct stat old {};
  const bool exists = ::stat(path.c_str(), &old) == 0;
  if (exists) {
    detail::check_regular(path, old);
    mode = old.st_mode & 0777;
    if (char* real = ::realpath(path.c_str(), nullptr)) {
      target = real;
      ::free(real);
    }
  }
  const std::size_t slash = target.rfind('/');
  const std::string directory = slash == std::string::npos ? "." : slash == 0 ? "/" : target.substr(0, slash);
  const std::string_view name = std::string_view(target).substr(slash == std::string::npos ? 0 : slash + 1);
  if (name.empty()) throw FileError(join(path, ": cannot be saved: the path ends in '/'; it must name a file"));
  {
    detail::Temporary<Calls> temporary(calls, path, directory, name, mode);
    if (exists) ::fchmod(temporary.descriptor(), mode);  // undoes the umask; where it fails, the umask stands
    for (std::span<const std::byte> part : parts) temporary.write(part);
    temporary.commit(target);
  }
  detail::sync_directory(calls, path, directory);
}

/// The same for text.
template <class Lazy = void>
void replace_file(const std::string& path, std::string_view text) {
  const std::span<const std::byte> part = std::as_bytes(std::span(text));
  replace_file(path, std::span(&part, 1));
}

}  // namespace espalier::inline ESPALIER_ABI
