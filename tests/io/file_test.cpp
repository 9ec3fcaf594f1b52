// A save is run with system calls that fail, fall short or stop at the k-th one, for every k: what is found afterwards
// is the old file or the new one.
#include "espalier/io/file.hpp"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <filesystem>
#include <string>

#include "io/scratch.hpp"
#include "support/catch.hpp"

using namespace espalier;

namespace {

constexpr std::uint64_t plenty = 1 << 20;

struct Plan {
  int fail_at = -1;                    // number of the call that fails
  int code = EIO;                      // with this errno
  bool dead = false;                   // nothing works after it: the process or the machine died
  std::size_t most = ~std::size_t{0};  // bytes that one write takes
  int calls = 0;
};

/// Real calls but for the plan.
class Faulty : public detail::SystemCalls {
 public:
  explicit Faulty(Plan& plan) : plan_(&plan) {}
  int open(const char* path, int flags, mode_t mode) { return fails() ? -1 : SystemCalls::open(path, flags, mode); }
  ssize_t write(int descriptor, const void* bytes, std::size_t size) {
    return fails() ? -1 : SystemCalls::write(descriptor, bytes, size < plan_->most ? size : plan_->most);
  }
  int fsync(int descriptor) { return fails() ? -1 : SystemCalls::fsync(descriptor); }
  int close(int descriptor) {
    const int result = SystemCalls::close(descriptor);  // a dead process' files are closed, too
    return fails() ? -1 : result;
  }
  int rename(const char* from, const char* to) { return fails() ? -1 : SystemCalls::rename(from, to); }
  int unlink(const char* path) { return fails() ? -1 : SystemCalls::unlink(path); }

 private:
  bool fails() {
    const int call = plan_->calls++;
    if (call != plan_->fail_at && !(plan_->dead && call > plan_->fail_at)) return false;
    errno = plan_->code;
    return true;
  }
  Plan* plan_;
};

void save(const std::string& path, std::string_view text, Plan& plan) {
  const std::span<const std::byte> parts[] = {bytes_of(text.substr(0, 1)), bytes_of(text.substr(1))};
  replace_file(path, parts, Faulty(plan));
}

}  // namespace

TEST_CASE("what is written is read", "[fast]") {
  const Scratch scratch;
  replace_file(scratch("a"), "first");
  CHECK(read_file(scratch("a"), plenty) == "first");
  replace_file(scratch("a"), "");
  CHECK(read_file(scratch("a"), plenty).empty());
  const std::string large(300'000, 'x');
  const std::span<const std::byte> parts[] = {bytes_of("head"), bytes_of(large), {}, bytes_of("tail")};
  replace_file(scratch("a"), parts);
  CHECK(read_file(scratch("a"), plenty) == "head" + large + "tail");
  CHECK(scratch.files() == 1);
}

TEST_CASE("a save that fails at any call leaves the old file and no other", "[fast]") {
  const Scratch scratch;
  Plan plan;
  replace_file(scratch("a"), "old");
  save(scratch("a"), "newer", plan);
  const int calls = plan.calls;  // open, write, fsync, close, rename; open, fsync, close of the folder
  REQUIRE(calls == 8);
  for (int k = 0; k < calls - 1; ++k) {
    replace_file(scratch("a"), "old");
    plan = {.fail_at = k, .code = ENOSPC};
    REQUIRE_THROWS_AS(save(scratch("a"), "newer", plan), FileError);
    CHECK(read_file(scratch("a"), plenty) == (k < 5 ? "old" : "newer"));
    CHECK(scratch.files() == 1);
  }
}

TEST_CASE("a process that dies at any call leaves the old file or the new one", "[fast]") {
  const Scratch scratch;
  for (int k = 0; k < 8; ++k) {
    replace_file(scratch("a"), "old");
    Plan plan{.fail_at = k, .dead = true};
    try {
      save(scratch("a"), "newer", plan);
    } catch (const FileError&) {
    }
    CHECK(read_file(scratch("a"), plenty) == (k < 5 ? "old" : "newer"));
  }
  replace_file(scratch("a"), "next");  // the temporaries that were left do not disturb, and go
  CHECK(read_file(scratch("a"), plenty) == "next");
  CHECK(scratch.files() == 1);
}

TEST_CASE("of temporaries beside a file, those of dead processes alone are removed by the next save", "[fast]") {
  const Scratch scratch;
  const std::string first = scratch(".a.tmp.0"), second = scratch(".a.tmp.1"), other = scratch(".b.tmp.0");
  int ready[2], done[2];
  REQUIRE(::pipe(ready) == 0);
  REQUIRE(::pipe(done) == 0);
  const pid_t child = ::fork();
  if (child == 0) {  // saves `a`, and is killed in the middle of it
    ::close(done[1]);
    detail::SystemCalls calls;
    const std::string path = scratch("a");
    detail::Temporary<detail::SystemCalls> held(calls, path, scratch.folder(), "a", 0666);
    held.write(bytes_of("half of it"));
    char byte = 0;
    if (::write(ready[1], &byte, 1) != 1 || ::read(done[0], &byte, 1) != 1) ::_exit(1);
    ::_exit(0);
  }
  char byte = 0;
  REQUIRE(::read(ready[0], &byte, 1) == 1);
  replace_file(other, "of another file");
  replace_file(second, "of a dead process");
  replace_file(scratch("a"), "while the other process saves it as well");
  CHECK(file_exists(first));
  CHECK_FALSE(file_exists(second));
  CHECK(::kill(child, SIGKILL) == 0);
  CHECK(::waitpid(child, nullptr, 0) == child);
  CHECK(file_exists(first));
  replace_file(scratch("a"), "after its death");
  CHECK_FALSE(file_exists(first));
  CHECK(read_file(other, plenty) == "of another file");
  CHECK(scratch.files() == 2);
  // What is no file of ours stays, and the save finds another name.
  std::filesystem::create_symlink("b", first);
  REQUIRE(::mkfifo(second.c_str(), 0600) == 0);
  replace_file(scratch("a"), "beside a link and a pipe");
  CHECK(std::filesystem::is_symlink(first));
  CHECK(scratch.files() == 4);
  for (int descriptor : {ready[0], ready[1], done[0], done[1]}) ::close(descriptor);
}

TEST_CASE("short and interrupted writes are continued", "[fast]") {
  const Scratch scratch;
  Plan plan{.most = 2};
  save(scratch("a"), "0123456789", plan);
  CHECK(read_file(scratch("a"), plenty) == "0123456789");
  plan = {.fail_at = 1, .code = EINTR};
  save(scratch("a"), "abc", plan);
  CHECK(read_file(scratch("a"), plenty) == "abc");
  plan = {.most = 0};
  CHECK_THROWS_AS(save(scratch("a"), "def", plan), FileError);
  CHECK(read_file(scratch("a"), plenty) == "abc");
}

TEST_CASE("errors of saving name the file, the step and the reason", "[fast]") {
  const Scratch scratch;
  const std::string path = scratch("a");
  Plan plan{.fail_at = 1, .code = ENOSPC};
  CHECK_THROWS_WITH(save(path, "x", plan),
                    path + ": cannot be saved: write: No space left on device; what was there is untouched");
  plan = {.fail_at = 2};
  CHECK_THROWS_WITH(save(path, "x", plan),
                    path + ": cannot be saved: fsync: Input/output error; what was there is untouched");
  plan = {.fail_at = 6};
  CHECK_THROWS_WITH(save(path, "x", plan), path +
                                               ": saved, but its directory cannot be synced: Input/output error; "
                                               "the new file may not survive a power cut");
  CHECK_THROWS_WITH(replace_file(scratch("no/a"), "x"),
                    scratch("no/a") +
                        ": cannot be saved: creating a temporary file beside it: No such file or "
                        "directory; what was there is untouched");
  CHECK_THROWS_WITH(replace_file(scratch.folder(), "x"),
                    scratch.folder() + ": is a directory; a regular file is needed");
  CHECK_THROWS_WITH(replace_file("/dev/null", "x"), "/dev/null: is a device; a regular file is needed");
  CHECK_THROWS_WITH(replace_file(scratch("no/"), "x"),
                    scratch("no/") + ": cannot be saved: the path ends in '/'; it must name a file");
  CHECK_THROWS_WITH(replace_file("", "x"), "the path of the file is empty");
  CHECK_THROWS_WITH(replace_file(std::string("a\0b", 3), "x"), "\"a\\x00b\": the path holds a NUL byte");
  plan = {.fail_at = 6, .code = EINVAL};  // a filesystem that cannot sync directories
  CHECK_NOTHROW(save(path, "x", plan));
}

TEST_CASE("where a save would fail is known before it", "[fast]") {
  const Scratch scratch;
  replace_file(scratch("file"), "old");
  CHECK_NOTHROW(check_replaceable(scratch("file")));
  CHECK_NOTHROW(check_replaceable(scratch("new")));
  CHECK_NOTHROW(check_replaceable("no folder before it"));
  CHECK(scratch.files() == 1);
  CHECK_THROWS_WITH(check_replaceable(scratch("no/a")), scratch("no/a") + ": cannot be saved: its folder \"" +
                                                            scratch("no") + "\": No such file or directory");
  CHECK_THROWS_WITH(check_replaceable(scratch("file/a")), scratch("file/a") + ": cannot be saved: its folder \"" +
                                                              scratch("file") + "\": Not a directory");
  CHECK_THROWS_WITH(check_replaceable(scratch.folder()), scratch.folder() + ": is a directory; a regular file is needed");
  CHECK_THROWS_WITH(check_replaceable("/dev/null"), "/dev/null: is a device; a regular file is needed");
  CHECK_THROWS_WITH(check_replaceable(scratch("no/")),
                    scratch("no/") + ": cannot be saved: the path ends in '/'; it must name a file");
  CHECK_THROWS_WITH(check_replaceable(""), "the path of the file is empty");
  // Of a link, the folder counts that it leads to.
  std::filesystem::create_directory(scratch("folder"));
  replace_file(scratch("folder/real"), "old");
  std::filesystem::create_symlink("folder/real", scratch("link"));
  CHECK_NOTHROW(check_replaceable(scratch("link")));
}

TEST_CASE("a file is the same by any of its names", "[fast]") {
  const Scratch scratch;
  replace_file(scratch("a"), "1");
  replace_file(scratch("b"), "1");
  std::filesystem::create_symlink("a", scratch("link"));
  std::filesystem::create_hard_link(scratch("a"), scratch("hard"));
  CHECK(same_file(scratch("a"), scratch("a")));
  CHECK(same_file(scratch("a"), scratch.folder() + "/./a"));
  CHECK(same_file(scratch("link"), scratch("a")));
  CHECK(same_file(scratch("a"), scratch("hard")));
  CHECK_FALSE(same_file(scratch("a"), scratch("b")));
  CHECK_FALSE(same_file(scratch("a"), scratch("none")));
  CHECK_FALSE(same_file(scratch("none"), scratch("none")));
  CHECK_FALSE(same_file("", ""));
}

TEST_CASE("links and permissions survive a save", "[fast]") {
  const Scratch scratch;
  std::filesystem::create_directory(scratch("folder"));
  replace_file(scratch("folder/real"), "old");
  REQUIRE(::chmod(scratch("folder/real").c_str(), 0600) == 0);
  std::filesystem::create_symlink("folder/real", scratch("link"));
  replace_file(scratch("link"), "new");
  CHECK(std::filesystem::is_symlink(scratch("link")));
  CHECK(read_file(scratch("folder/real"), plenty) == "new");
  struct stat status {};
  REQUIRE(::stat(scratch("folder/real").c_str(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0600);
}

TEST_CASE("a path without a folder is in the working directory", "[fast]") {
  const Scratch scratch;
  const std::string name = scratch.folder() + ".file";
  replace_file(name, "here");
  CHECK(read_file(name, plenty) == "here");
  std::filesystem::remove(name);
}

TEST_CASE("only regular files within the limit are read", "[fast]") {
  const Scratch scratch;
  CHECK_THROWS_WITH(read_file(scratch("none"), plenty),
                    scratch("none") + ": cannot be opened: No such file or directory");
  CHECK_THROWS_WITH(read_file(scratch.folder(), plenty),
                    scratch.folder() + ": is a directory; a regular file is needed");
  CHECK_THROWS_WITH(read_file("/dev/zero", plenty), "/dev/zero: is a device; a regular file is needed");
  REQUIRE(::mkfifo(scratch("pipe").c_str(), 0600) == 0);
  CHECK_THROWS_WITH(read_file(scratch("pipe"), plenty), scratch("pipe") + ": is a pipe; a regular file is needed");
  replace_file(scratch("a"), "12345");
  CHECK(read_file(scratch("a"), 5) == "12345");
  CHECK_THROWS_WITH(read_file(scratch("a"), 4), scratch("a") + ": has 5 bytes; at most 4 are read");
}

TEST_CASE("a file that changes while it is read is an error", "[fast]") {
  const Scratch scratch;
  replace_file(scratch("a"), "12345");
  std::byte bytes[5];
  {
    InputFile file(scratch("a"));
    std::filesystem::resize_file(scratch("a"), 3);
    CHECK_THROWS_WITH(file.read(bytes),
                      scratch("a") + ", byte 3: the file ends here; it had 5 bytes when it was opened");
  }
  std::filesystem::resize_file(scratch("a"), 5);
  InputFile file(scratch("a"));
  file.read(bytes);
  CHECK_NOTHROW(file.finish());
  CHECK(file.position() == 5);
  std::filesystem::resize_file(scratch("a"), 6);
  CHECK_THROWS_WITH(file.finish(),
                    scratch("a") + ", byte 5: more bytes follow; the file had 5 bytes when it was opened");
}

TEST_CASE("text from a file is quoted harmlessly", "[fast]") {
  CHECK(in_quotes("a b") == "\"a b\"");
  CHECK(in_quotes("a\n\x7F\xC3\xA9") == "\"a\\x0A\\x7F\\xC3\\xA9\"");
  CHECK(in_quotes(std::string(81, 'x')) == "\"" + std::string(80, 'x') + "...\"");
}
