//! Runs a program and lets one of its system calls below a directory go wrong.
//!
//! The program and all it starts are traced (`ptrace`); a seccomp filter stops only at calls about files of the class that
//! the fault is of: a stop costs more than most calls. Every kind of call is seen, whichever library makes it.

use std::collections::{HashMap, HashSet};
use std::ffi::{CStr, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use libc::{c_int, c_long, c_void, pid_t, user_regs_struct};

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The process that makes the call is killed before it is made.
    Kill,
    /// Everything ends, and what was written since the last sync of a file may be lost.
    PowerLoss,
    /// The call fails with this error, once.
    Once(c_int),
    /// This call and all later ones of the same class fail with this error.
    FromHere(c_int),
    /// Half of the bytes are read or written.
    Short,
}

/// Which calls are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Calls that change something.
    Changing,
    /// Calls that look at something.
    Reading,
}

/// Which call goes wrong, and how.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub class: Class,
    /// The number of the call in its class, from 1.
    pub at: u64,
    pub fault: Fault,
    /// The only file or directory that it is about: it cannot be opened, nor anything in it be looked at.
    pub only: Option<&'static str>,
}

/// What became of a traced program.
pub struct Traced {
    /// The exit code; 128 and the signal when it was killed.
    pub code: i32,
    /// The call that went wrong, if it was reached.
    pub hit: Option<String>,
    /// How many calls of the class there were.
    pub calls: u64,
    /// Files that were written and not synced, by device and inode, as they were at their last sync.
    pub unsynced: HashMap<(u64, u64), Vec<u8>>,
}

/// Where the numbers of arguments are.
#[derive(Clone, Copy)]
enum Target {
    /// A descriptor.
    Fd(usize),
    /// A path relative to the working directory.
    Path(usize),
    /// A path relative to the directory of a descriptor.
    At(usize, usize),
}

struct Call {
    number: c_long,
    name: &'static str,
    target: Target,
    class: Class,
    /// The argument that says how many bytes.
    length: Option<usize>,
}

const fn call(number: c_long, name: &'static str, target: Target, class: Class) -> Call {
    Call {
        number,
        name,
        target,
        class,
        length: None,
    }
}

const fn bytes(number: c_long, name: &'static str, fd: usize, class: Class, length: usize) -> Call {
    Call {
        number,
        name,
        target: Target::Fd(fd),
        class,
        length: Some(length),
    }
}

/// Opening a file with one of these counts as a change.
const CREATES: c_int = libc::O_CREAT | libc::O_TRUNC;

use Class::{Changing, Reading};
use Target::{At, Fd, Path as Named};

/// The calls that can go wrong. Opening counts as a change when it may create or truncate.
const CALLS: &[Call] = &[
    bytes(libc::SYS_write, "write", 0, Changing, 2),
    bytes(libc::SYS_pwrite64, "pwrite64", 0, Changing, 2),
    call(libc::SYS_writev, "writev", Fd(0), Changing),
    bytes(libc::SYS_copy_file_range, "copy_file_range", 2, Changing, 4),
    bytes(libc::SYS_sendfile, "sendfile", 0, Changing, 3),
    call(libc::SYS_ftruncate, "ftruncate", Fd(0), Changing),
    call(libc::SYS_fallocate, "fallocate", Fd(0), Changing),
    call(libc::SYS_fsync, "fsync", Fd(0), Changing),
    call(libc::SYS_fdatasync, "fdatasync", Fd(0), Changing),
    call(libc::SYS_fchmod, "fchmod", Fd(0), Changing),
    call(libc::SYS_open, "open", Named(0), Reading),
    call(libc::SYS_openat, "openat", At(0, 1), Reading),
    call(libc::SYS_rename, "rename", Named(1), Changing),
    call(libc::SYS_renameat, "renameat", At(2, 3), Changing),
    call(libc::SYS_renameat2, "renameat2", At(2, 3), Changing),
    call(libc::SYS_unlink, "unlink", Named(0), Changing),
    call(libc::SYS_unlinkat, "unlinkat", At(0, 1), Changing),
    call(libc::SYS_mkdir, "mkdir", Named(0), Changing),
    call(libc::SYS_mkdirat, "mkdirat", At(0, 1), Changing),
    call(libc::SYS_rmdir, "rmdir", Named(0), Changing),
    call(libc::SYS_link, "link", Named(1), Changing),
    call(libc::SYS_linkat, "linkat", At(2, 3), Changing),
    call(libc::SYS_symlink, "symlink", Named(1), Changing),
    call(libc::SYS_symlinkat, "symlinkat", At(1, 2), Changing),
    call(libc::SYS_chmod, "chmod", Named(0), Changing),
    call(libc::SYS_fchmodat, "fchmodat", At(0, 1), Changing),
    call(libc::SYS_utimensat, "utimensat", At(0, 1), Changing),
    bytes(libc::SYS_read, "read", 0, Reading, 2),
    bytes(libc::SYS_pread64, "pread64", 0, Reading, 2),
    call(libc::SYS_getdents64, "getdents64", Fd(0), Reading),
    call(libc::SYS_statx, "statx", At(0, 1), Reading),
    call(libc::SYS_newfstatat, "newfstatat", At(0, 1), Reading),
    call(libc::SYS_stat, "stat", Named(0), Reading),
    call(libc::SYS_lstat, "lstat", Named(0), Reading),
    call(libc::SYS_fstat, "fstat", Fd(0), Reading),
    call(libc::SYS_readlink, "readlink", Named(0), Reading),
    call(libc::SYS_readlinkat, "readlinkat", At(0, 1), Reading),
];

/// Whether calls can be traced here: not in every container.
pub fn is_possible() -> bool {
    let dir = std::env::temp_dir();
    let run = || run(&mut Command::new("true"), &dir, None, &Handle::default());
    std::panic::catch_unwind(run).is_ok_and(|traced| traced.code == 0)
}

/// What other threads have of a traced program.
#[derive(Clone)]
pub struct Handle(Arc<Shared>);

struct Shared {
    pid: AtomicI32,
    /// Whether calls are counted.
    is_armed: AtomicBool,
    is_hit: AtomicBool,
}

impl Default for Handle {
    fn default() -> Self {
        Self(Arc::new(Shared {
            pid: AtomicI32::new(0),
            is_armed: AtomicBool::new(true),
            is_hit: AtomicBool::new(false),
        }))
    }
}

impl Handle {
    /// A handle of a program whose calls are counted only after [`Handle::arm`].
    pub fn unarmed() -> Self {
        let handle = Self::default();
        handle.0.is_armed.store(false, Ordering::SeqCst);
        handle
    }

    pub fn arm(&self) {
        self.0.is_armed.store(true, Ordering::SeqCst);
    }

    /// Lets no call fail any more.
    pub fn disarm(&self) {
        self.0.is_armed.store(false, Ordering::SeqCst);
    }

    /// Whether the fault has happened.
    pub fn is_hit(&self) -> bool {
        self.0.is_hit.load(Ordering::SeqCst)
    }

    /// Sends a signal, if the program has started and not ended.
    pub fn signal(&self, signal: c_int) {
        let pid = self.0.pid.load(Ordering::SeqCst);
        if pid > 0 {
            unsafe { libc::kill(pid, signal) };
        }
    }

    pub fn has_ended(&self) -> bool {
        self.0.pid.load(Ordering::SeqCst) < 0
    }
}

/// Runs a program to its end, and that of everything that it started.
pub fn run(command: &mut Command, below: &Path, plan: Option<Plan>, handle: &Handle) -> Traced {
    let filter = filter(plan.map_or(Changing, |plan| plan.class));
    unsafe {
        command.pre_exec(move || trace_me(&filter));
    }
    // Its end is seen by the tracer, which waits for every process.
    #[allow(clippy::zombie_processes)]
    let child = command.spawn().expect("the program can be traced");
    let main = child.id() as pid_t;
    let mut tracer = Tracer {
        main,
        below,
        plan,
        handle,
        known: HashSet::new(),
        traced: Traced {
            code: -1,
            hit: None,
            calls: 0,
            unsynced: HashMap::new(),
        },
        fails: None,
    };
    tracer.first_stop();
    handle.0.pid.store(main, Ordering::SeqCst);
    tracer.follow();
    handle.0.pid.store(-1, Ordering::SeqCst);
    tracer.traced
}

/// Stops at the calls of a class, in the program that is about to be started.
fn filter(class: Class) -> Vec<libc::sock_filter> {
    // Where what a filter sees has the number of the call, and two of its arguments.
    const NUMBER: usize = 0;
    const SECOND: usize = 24;
    const THIRD: usize = 32;
    let opens = [(libc::SYS_open, SECOND), (libc::SYS_openat, THIRD)];
    let is_open = |call: &&Call| opens.iter().any(|(number, _)| *number == call.number);
    let others = CALLS.iter().filter(|call| call.class == class);
    let others: Vec<&Call> = others.filter(|call| !is_open(call)).collect();
    let statement = |code: u32, jt: usize, jf: usize, k: u32| libc::sock_filter {
        code: code as u16,
        jt: jt as u8,
        jf: jf as u8,
        k,
    };
    let load = |at: usize| statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, at as u32);
    let end = |value: u32| statement(libc::BPF_RET | libc::BPF_K, 0, 0, value);
    let is = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    let has = libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K;
    // The last two statements let a call pass, and stop at it. Each opening takes three.
    let pass = 1 + others.len() + 3 * opens.len();
    let stop = pass + 1;
    let mut filter = vec![load(NUMBER)];
    for call in others {
        let next = filter.len() + 1;
        filter.push(statement(is, stop - next, 0, call.number as u32));
    }
    for (number, flags) in opens {
        filter.push(statement(is, 0, 2, number as u32));
        filter.push(load(flags));
        let next = filter.len() + 1;
        let (creates, reads) = match class {
            Changing => (stop, pass),
            Reading => (pass, stop),
        };
        filter.push(statement(has, creates - next, reads - next, CREATES as u32));
    }
    filter.push(end(libc::SECCOMP_RET_ALLOW));
    filter.push(end(libc::SECCOMP_RET_TRACE));
    filter
}

fn trace_me(filter: &[libc::sock_filter]) -> std::io::Result<()> {
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_ptr().cast_mut(),
    };
    let failed = unsafe {
        libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) < 0
            || libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0
            || libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program) < 0
    };
    match failed {
        true => Err(std::io::Error::last_os_error()),
        false => Ok(()),
    }
}

struct Tracer<'a> {
    main: pid_t,
    below: &'a Path,
    plan: Option<Plan>,
    handle: &'a Handle,
    /// Threads that have stopped once.
    known: HashSet<pid_t>,
    traced: Traced,
    /// What every further call of a class gives.
    fails: Option<(Class, c_int)>,
}

impl Tracer<'_> {
    fn first_stop(&mut self) {
        let mut status = 0;
        let stopped = unsafe { libc::waitpid(self.main, &mut status, libc::__WALL) };
        assert!(stopped == self.main && libc::WIFSTOPPED(status), "no stop");
        let options = libc::PTRACE_O_TRACESECCOMP
            | libc::PTRACE_O_TRACECLONE
            | libc::PTRACE_O_TRACEFORK
            | libc::PTRACE_O_TRACEVFORK
            | libc::PTRACE_O_TRACEEXEC
            | libc::PTRACE_O_EXITKILL;
        let set = unsafe { libc::ptrace(libc::PTRACE_SETOPTIONS, self.main, 0, options) };
        assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
        self.known.insert(self.main);
        resume(self.main, 0);
    }

    fn follow(&mut self) {
        loop {
            let mut status = 0;
            // Only children of this thread: others are traced by other threads.
            let pid = unsafe { libc::waitpid(-1, &mut status, libc::__WALL | libc::__WNOTHREAD) };
            if pid < 0 {
                return;
            }
            if libc::WIFSTOPPED(status) {
                self.stopped(pid, status);
                continue;
            }
            self.known.remove(&pid);
            if pid == self.main {
                self.traced.code = match libc::WIFEXITED(status) {
                    true => libc::WEXITSTATUS(status),
                    false => 128 + libc::WTERMSIG(status),
                };
            }
        }
    }

    fn stopped(&mut self, pid: pid_t, status: c_int) {
        let is_new = self.known.insert(pid);
        let signal = libc::WSTOPSIG(status);
        match status >> 16 {
            libc::PTRACE_EVENT_SECCOMP => self.at_call(pid),
            0 if is_new && signal == libc::SIGSTOP => resume(pid, 0),
            0 => resume(pid, signal),
            _ => resume(pid, 0),
        }
    }

    fn at_call(&mut self, pid: pid_t) {
        // Nothing more is to be found out, or nothing yet.
        let is_over = self.traced.hit.is_some() && self.fails.is_none();
        let is_early = !self.handle.0.is_armed.load(Ordering::SeqCst);
        let loses = self.plan.is_some_and(|plan| plan.fault == Fault::PowerLoss);
        if is_over || is_early && !loses {
            return resume(pid, 0);
        }
        let mut registers: user_regs_struct = unsafe { std::mem::zeroed() };
        let data = (&raw mut registers).cast::<c_void>();
        if unsafe { libc::ptrace(libc::PTRACE_GETREGS, pid, 0, data) } < 0 {
            return;
        }
        let Some(call) = CALLS
            .iter()
            .find(|call| call.number as u64 == registers.orig_rax)
        else {
            return resume(pid, 0);
        };
        let Some(path) = self.path(pid, call.target, &registers) else {
            return resume(pid, 0);
        };
        let class = match opening(call, &registers) {
            Some(flags) if flags & CREATES != 0 => Changing,
            _ => call.class,
        };
        if loses && class == Changing {
            self.note(pid, call, &registers, &path);
        }
        if !is_early {
            self.count(pid, call, class, &mut registers, &path);
        }
        resume(pid, 0);
    }

    /// Counts a call and lets it go wrong if it is its turn.
    fn count(
        &mut self,
        pid: pid_t,
        call: &Call,
        class: Class,
        registers: &mut user_regs_struct,
        path: &Path,
    ) {
        let Some(plan) = self.plan else { return };
        if plan.class != class || !self.is_about(plan, call, path) {
            return;
        }
        let count = &mut self.traced.calls;
        *count += 1;
        if let Some((fails, error)) = self.fails {
            if fails == class && needs_space(call, error) && group(pid) == self.main {
                fail(pid, registers, error);
            }
            return;
        }
        // A call that cannot go wrong in this way is passed over for the next one that can.
        if *count < plan.at || self.traced.hit.is_some() {
            return;
        }
        match plan.fault {
            Fault::Kill => {
                let process = group(pid);
                unsafe { libc::kill(process, libc::SIGKILL) };
            }
            Fault::PowerLoss => {
                for pid in &self.known {
                    unsafe { libc::kill(*pid, libc::SIGKILL) };
                }
            }
            // What a renderer makes of an error is not clm's.
            Fault::Once(error) | Fault::FromHere(error)
                if needs_space(call, error) && group(pid) == self.main =>
            {
                fail(pid, registers, error);
                if plan.fault == Fault::FromHere(error) {
                    self.fails = Some((class, error));
                }
            }
            Fault::Short if call.length.is_some_and(|at| argument(registers, at) > 1) => {
                let at = call.length.unwrap_or_default();
                set_argument(registers, at, argument(registers, at) / 2);
                set_registers(pid, registers);
            }
            _ => return,
        }
        self.traced.hit = Some(format!("{} {}", call.name, path.display()));
        self.handle.0.is_hit.store(true, Ordering::SeqCst);
    }

    /// Whether a call is one of those that a plan is about.
    fn is_about(&self, plan: Plan, call: &Call, path: &Path) -> bool {
        let Some(only) = plan.only else { return true };
        let only = self.below.join(only);
        match path == only {
            true => call.name.starts_with("open"),
            false => path.starts_with(&only),
        }
    }

    /// Remembers how a file was at its last sync, before it changes.
    fn note(&mut self, pid: pid_t, call: &Call, registers: &user_regs_struct, path: &Path) {
        let file = match (call.target, opening(call, registers)) {
            (Fd(at), _) => PathBuf::from(format!("/proc/{pid}/fd/{}", argument(registers, at))),
            (_, Some(flags)) if flags & libc::O_TRUNC != 0 => path.to_path_buf(),
            _ => return,
        };
        let Ok(metadata) = std::fs::metadata(&file) else {
            return;
        };
        let inode = (metadata.dev(), metadata.ino());
        match call.name {
            "fsync" | "fdatasync" => {
                self.traced.unsynced.remove(&inode);
            }
            "fchmod" => {}
            _ => {
                let before = || std::fs::read(&file).unwrap_or_default();
                self.traced.unsynced.entry(inode).or_insert_with(before);
            }
        }
    }

    /// What a call is about, when it lies below the directory.
    fn path(&self, pid: pid_t, target: Target, registers: &user_regs_struct) -> Option<PathBuf> {
        let fd = |at: usize| match argument(registers, at) as c_int {
            libc::AT_FDCWD => std::fs::read_link(format!("/proc/{pid}/cwd")),
            fd => std::fs::read_link(format!("/proc/{pid}/fd/{fd}")),
        };
        let path = match target {
            Fd(at) => fd(at).ok()?,
            Named(at) => {
                let path = text(pid, argument(registers, at))?;
                match path.is_absolute() {
                    true => path,
                    false => std::fs::read_link(format!("/proc/{pid}/cwd"))
                        .ok()?
                        .join(path),
                }
            }
            At(dir, at) => {
                let path = text(pid, argument(registers, at)).unwrap_or_default();
                match path.is_absolute() {
                    true => path,
                    false => fd(dir).ok()?.join(path),
                }
            }
        };
        path.starts_with(self.below).then_some(path)
    }
}

/// The flags of a call that opens a file.
fn opening(call: &Call, registers: &user_regs_struct) -> Option<c_int> {
    match call.number {
        libc::SYS_open => Some(argument(registers, 1) as c_int),
        libc::SYS_openat => Some(argument(registers, 2) as c_int),
        _ => None,
    }
}

/// Whether a call can fail with an error: only what needs space finds the disk full.
fn needs_space(call: &Call, error: c_int) -> bool {
    let frees = [
        "unlink",
        "unlinkat",
        "rmdir",
        "fsync",
        "fdatasync",
        "fchmod",
        "chmod",
        "utimensat",
    ];
    match error {
        libc::ENOSPC => !frees.contains(&call.name),
        libc::EMFILE => call.name.starts_with("open"),
        libc::EINTR => ["read", "write", "pread64", "pwrite64", "openat"].contains(&call.name),
        _ => true,
    }
}

/// The process of a thread.
fn group(thread: pid_t) -> pid_t {
    let status = std::fs::read_to_string(format!("/proc/{thread}/status")).unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("Tgid:"))
        .and_then(|number| number.trim().parse().ok())
        .unwrap_or(thread)
}

/// Leaves a call out and gives an error for it.
fn fail(pid: pid_t, registers: &mut user_regs_struct, error: c_int) {
    registers.orig_rax = u64::MAX;
    registers.rax = (-i64::from(error)).cast_unsigned();
    set_registers(pid, registers);
}

fn set_registers(pid: pid_t, registers: &mut user_regs_struct) {
    let data = std::ptr::from_mut(registers).cast::<c_void>();
    unsafe { libc::ptrace(libc::PTRACE_SETREGS, pid, 0, data) };
}

fn resume(pid: pid_t, signal: c_int) {
    // It may have been killed meanwhile.
    unsafe { libc::ptrace(libc::PTRACE_CONT, pid, 0, signal) };
}

fn argument(registers: &user_regs_struct, at: usize) -> u64 {
    [
        registers.rdi,
        registers.rsi,
        registers.rdx,
        registers.r10,
        registers.r8,
        registers.r9,
    ][at]
}

fn set_argument(registers: &mut user_regs_struct, at: usize, value: u64) {
    *[
        &mut registers.rdi,
        &mut registers.rsi,
        &mut registers.rdx,
        &mut registers.r10,
        &mut registers.r8,
        &mut registers.r9,
    ][at] = value;
}

/// A text in the memory of a process.
fn text(pid: pid_t, address: u64) -> Option<PathBuf> {
    const PAGE: usize = 4096;
    let address = usize::try_from(address)
        .ok()
        .filter(|address| *address > 0)?;
    // The page after that of the text may not be there.
    let first = PAGE - address % PAGE;
    let mut bytes = [0_u8; 2 * PAGE];
    let part = |base: usize, length: usize| libc::iovec {
        iov_base: base as *mut c_void,
        iov_len: length,
    };
    let here = part(bytes.as_mut_ptr() as usize, bytes.len());
    let there = [part(address, first), part(address + first, PAGE)];
    let read = unsafe { libc::process_vm_readv(pid, &raw const here, 1, there.as_ptr(), 2, 0) };
    let read = bytes.get(..usize::try_from(read).ok()?)?;
    let text = CStr::from_bytes_until_nul(read).ok()?;
    Some(OsStr::from_bytes(text.to_bytes()).into())
}
