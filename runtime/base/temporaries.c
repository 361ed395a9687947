#include "runtime/base/temporaries.h"

#include "runtime/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MAX_TEMPORARIES = 64, MAX_DIRECTORIES = 8, MAX_TREE_LEVELS = 32 };

enum { SLOT_FREE, SLOT_CLAIMED, SLOT_FILE, SLOT_DIR };

typedef struct temporary {
    atomic_int state; // the path may be read only in the last two states
    pid_t process;    // a forked child must not remove what its parent is writing
    char path[PATH_MAX];
} temporary;

static temporary temporaries[MAX_TEMPORARIES];
static temporary directories[MAX_DIRECTORIES]; // a stack
static int n_directories;                      // those without a place in it count, too

static bool fill(temporary *slot, const char *path, int state) {
    size_t length = strlen(path);
    if (length >= sizeof slot->path) {
        atomic_store(&slot->state, SLOT_FREE);
        return false;
    }
    memcpy(slot->path, path, length + 1);
    slot->process = getpid();
    atomic_store(&slot->state, state);
    return true;
}

int mlcc_temporary_add(const char *path) {
    for (int i = 0; i < MAX_TEMPORARIES; i++) {
        int expected = SLOT_FREE;
        if (!atomic_compare_exchange_strong(&temporaries[i].state, &expected, SLOT_CLAIMED)) {
            continue;
        }
        return fill(&temporaries[i], path, SLOT_FILE) ? i : -1;
    }
    return -1;
}

void mlcc_temporary_forget(int slot) {
    if (slot >= 0) atomic_store(&temporaries[slot].state, SLOT_FREE);
}

void mlcc_temporary_dir_register(const char *path) {
    if (path == NULL) {
        if (n_directories > 0 && --n_directories < MAX_DIRECTORIES)
            atomic_store(&directories[n_directories].state, SLOT_FREE);
        return;
    }
    const int index = n_directories++;
    if (index >= MAX_DIRECTORIES) return;
    atomic_store(&directories[index].state, SLOT_CLAIMED);
    (void)fill(&directories[index], path, SLOT_DIR);
}

mlcc_status *mlcc_temporary_dir_make(mlcc_arena *keep, const char *purpose, char **out) {
    const char *parent = getenv("TMPDIR");
    if (parent == NULL || parent[0] == '\0') parent = "/tmp";
    *out = mlcc_arena_printf(keep, "%s/mlcc-%s-XXXXXX", parent, purpose);
    mlcc_interruption_hold(); // not to be ended between the two
    const bool is_made = mkdtemp(*out) != NULL;
    const int reason = errno;
    if (is_made) mlcc_temporary_dir_register(*out);
    mlcc_interruption_release();
    if (is_made) return NULL;
    return MLCC_ERROR(
        IO, "cannot make a temporary directory in '%s': %s; TMPDIR names another place", parent,
        strerror(reason));
}

// What the kernel's getdents64 fills in; the C library's readdir allocates and is thus closed to
// signal handlers.
typedef struct kernel_dirent {
    uint64_t inode;
    int64_t offset;
    unsigned short record_bytes;
    unsigned char type;
    char name[];
} kernel_dirent;

static bool remove_children(int dir, int level);

static bool remove_child(int dir, const char *name, int level) {
    if (unlinkat(dir, name, 0) == 0 || errno == ENOENT) return true;
    if (errno != EISDIR && errno != EPERM) return false;
    if (level == MAX_TREE_LEVELS) {
        errno = ELOOP;
        return false;
    }
    int child = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (child < 0) return false;
    bool empty = remove_children(child, level + 1);
    int reason = errno;
    close(child);
    errno = reason;
    return empty && unlinkat(dir, name, AT_REMOVEDIR) == 0;
}

// Empties the directory. Removal may move entries past the reading position, so reading starts over
// until a whole pass found nothing.
static bool remove_children(int dir, int level) {
    _Alignas(kernel_dirent) char buffer[4096];
    bool found = true;
    while (found) {
        found = false;
        if (lseek(dir, 0, SEEK_SET) < 0) return false;
        for (;;) {
            long n = syscall(SYS_getdents64, dir, buffer, sizeof buffer);
            if (n < 0) return false;
            if (n == 0) break;
            for (long at = 0; at < n;) {
                const kernel_dirent *entry = (const kernel_dirent *)(const void *)(buffer + at);
                at += entry->record_bytes;
                if (strcmp(entry->name, ".") == 0 || strcmp(entry->name, "..") == 0) continue;
                if (!remove_child(dir, entry->name, level)) return false;
                found = true;
            }
        }
    }
    return true;
}

bool mlcc_remove_tree(const char *path) {
    int dir = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (dir < 0) return false;
    bool empty = remove_children(dir, 0);
    int reason = errno;
    close(dir);
    errno = reason;
    return empty && rmdir(path) == 0;
}

mlcc_status *mlcc_dir_remove_tree(const char *path) {
    if (!mlcc_remove_tree(path) && errno != ENOENT) {
        return MLCC_ERROR(IO, "cannot remove directory '%s': %s", path, strerror(errno));
    }
    return NULL;
}

void mlcc_writer_remove_all_temporaries(void) {
    int reason = errno; // a signal handler must leave it as it was
    pid_t process = getpid();
    for (int i = 0; i < MAX_TEMPORARIES; i++) {
        temporary *slot = &temporaries[i];
        if (atomic_load(&slot->state) == SLOT_FILE && slot->process == process) unlink(slot->path);
    }
    for (int i = 0; i < MAX_DIRECTORIES; i++) {
        temporary *slot = &directories[i];
        if (atomic_load(&slot->state) == SLOT_DIR && slot->process == process)
            (void)mlcc_remove_tree(slot->path);
    }
    errno = reason;
}

static _Thread_local sigset_t mask_before;
static _Thread_local int n_holds;

void mlcc_interruption_hold(void) {
    if (n_holds++ > 0) return;
    sigset_t held;
    sigemptyset(&held);
    sigaddset(&held, SIGINT);
    sigaddset(&held, SIGTERM);
    sigaddset(&held, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &held, &mask_before);
}

void mlcc_interruption_release(void) {
    if (--n_holds > 0) return;
    pthread_sigmask(SIG_SETMASK, &mask_before, NULL);
}
