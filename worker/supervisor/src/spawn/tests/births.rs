//! Births that share the table of descriptors for a moment, and where that does not work.

use std::collections::BTreeMap;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::*;

/// What this process has open, and what each is.
fn open_here() -> BTreeMap<String, PathBuf> {
    let entries = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    // The descriptor by which this is read is gone when it is looked at.
    let known = entries.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        Some((name, std::fs::read_link(entry.path()).ok()?))
    });
    known.filter(|(_, is)| !is.starts_with("/proc")).collect()
}

fn open_in_a_child(place: &Place) -> String {
    place.said(&script("cd /proc/self/fd; for n in *; do [ -e $n ] && echo $n; done; true"))
}

/// From now on, `close_range` with `CLOSE_RANGE_UNSHARE` does nothing in this thread and in its
/// children, and answers with `error`; 0 is success.
fn filter_close_range(error: i32) {
    let code = |code: u32, k: u32, jt: u8, jf: u8| libc::sock_filter {
        code: u16::try_from(code).unwrap(),
        jt,
        jf,
        k,
    };
    let load = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    let equal = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    let give = libc::BPF_RET | libc::BPF_K;
    let answer = libc::SECCOMP_RET_ERRNO | error.unsigned_abs();
    let number = u32::try_from(libc::SYS_close_range).unwrap();
    // struct seccomp_data: the number of the call, and 16 bytes further its arguments.
    let mut filter = [
        code(load, 0, 0, 0),
        code(equal, number, 0, 3),
        code(load, 16 + 2 * 8, 0, 0),
        code(equal, libc::CLOSE_RANGE_UNSHARE, 0, 1),
        code(give, answer, 0, 0),
        code(give, libc::SECCOMP_RET_ALLOW, 0, 0),
    ];
    let program = libc::sock_fprog { len: 6, filter: filter.as_mut_ptr() };
    // SAFETY: the program is on this stack, as long as it says, and copied by the kernel.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let mode = libc::SECCOMP_MODE_FILTER;
        assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program), 0);
    }
}

#[test]
fn this_process_has_after_each_start_what_it_had_before() {
    if !alone("spawn::tests::births::this_process_has_after_each_start_what_it_had_before") {
        return;
    }
    let place = Place::new();
    let before = open_here();
    assert_eq!(open_in_a_child(&place), "0\n1\n2\n");
    assert_eq!(open_here(), before);
    let lost = ProgramSpec { directory: Some("/no/such".into()), ..script("true") };
    assert!(place.start(&lost).unwrap_err().contains("does not exist"));
    assert_eq!(open_here(), before);
}

#[test]
fn where_the_table_cannot_be_left_it_is_copied() {
    if !alone("spawn::tests::births::where_the_table_cannot_be_left_it_is_copied") {
        return;
    }
    // The last filter's answer counts.
    for error in [0, libc::ENOSYS, libc::EPERM] {
        filter_close_range(error);
        let place = Place::new();
        let before = open_here();
        for _ in 0..2 {
            assert_eq!(open_in_a_child(&place), "0\n1\n2\n");
        }
        assert_eq!(open_here(), before);
        let sources = [place.machine.reserve.null().unwrap()];
        assert!(place.machine.reserve.fill(&sources, None).is_none(), "it is not tried again");
    }
}

#[test]
fn a_child_may_have_more_than_is_reserved() {
    let place = Place::new();
    let path = place.home.path().join("file");
    std::fs::write(&path, "content").unwrap();
    let count = usize::try_from(reserve::SLOTS).unwrap();
    for files in [count - 3, count - 2, 3 * count] {
        let mut spec =
            script(&format!("cat /proc/self/fd/{}; echo; ls /proc/self/fd | wc -l", files + 2));
        spec.extra_files = vec![path.display().to_string().parse().unwrap(); files];
        // The three, the files, and the directory that is listed.
        assert_eq!(place.said(&spec), format!("content\n{}\n", files + 4));
    }
}

#[test]
fn a_low_limit_of_open_files_is_enough() {
    if !alone("spawn::tests::births::a_low_limit_of_open_files_is_enough") {
        return;
    }
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let roomy = Place::new();
    setrlimit(Resource::RLIMIT_NOFILE, 64, hard).unwrap();
    let narrow = Place::new();
    let null = narrow.machine.reserve.null().unwrap();
    assert!(narrow.machine.reserve.fill(&[null], None).is_none(), "nothing is reserved");
    assert_eq!(open_in_a_child(&narrow), "0\n1\n2\n");
    // What was reserved cannot be used when the limit sinks below it.
    setrlimit(Resource::RLIMIT_NOFILE, u64::try_from(reserve::SLOTS).unwrap(), hard).unwrap();
    assert_eq!(open_in_a_child(&roomy), "0\n1\n2\n");
}
