//! Fetching from a local server with every fault of a real one.
mod server;

use std::{fs, io::Write, path::Path, sync::Mutex, thread, time::Duration};

use kiln_datasets::{
    manifest::{Checksum, Manifest},
    read,
};
use kiln_fetch::{FetchError, Lock, Options, Outcome, Patience, Progress, fetch};
use server::{Answer, Server, Small};

const IMAGES: &str = "train-images-idx3-ubyte.gz";

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn small(mirrors: &[&str]) -> Small {
    Small::new(mirrors, |bytes| Checksum::of(bytes).to_string(), gzip)
}

/// A server of the small data set, and its manifest.
fn served() -> (Server, Manifest) {
    let server = Server::start(small(&[]).archives);
    let manifest = Manifest::parse(&small(&[&server.url]).manifest).unwrap();
    (server, manifest)
}

fn quick() -> Options {
    let patience = Patience { attempts: 3, pause: Duration::from_millis(2), timeout: Duration::from_secs(5) };
    Options { patience, ..Options::default() }
}

fn get(manifest: &Manifest, dir: &Path) -> Result<Outcome, FetchError> {
    fetch(manifest, dir, &quick(), &mut ())
}

/// Nothing but the data set and its lock is left.
fn assert_clean(dir: &Path) {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, [".mnist.lock", "mnist"]);
}

#[test]
fn a_data_set_is_fetched_once() {
    let (server, manifest) = served();
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(get(&manifest, dir.path()).unwrap(), Outcome::Fetched);
    assert!(read::verify(&manifest, dir.path()).unwrap().iter().all(|file| file.fault.is_none() && file.by_checksum));
    assert_clean(dir.path());
    assert_eq!(get(&manifest, dir.path()).unwrap(), Outcome::AlreadyThere);
    assert_eq!(server.asked(IMAGES), [0]);
}

#[test]
fn a_download_that_is_cut_goes_on_where_it_stopped() {
    let (server, manifest) = served();
    let dir = tempfile::tempdir().unwrap();
    server.script(IMAGES, [Answer::Cut(100), Answer::Cut(50), Answer::Status(503), Answer::Cut(0)]);
    assert_eq!(get(&manifest, dir.path()).unwrap(), Outcome::Fetched);
    assert_eq!(server.asked(IMAGES), [0, 100, 150, 150, 150]);
}

#[test]
fn a_call_that_was_killed_is_taken_up_by_the_next() {
    let (server, manifest) = served();
    let dir = tempfile::tempdir().unwrap();
    // Three idle attempts are the end of it; what was had stays.
    server.script(IMAGES, [Answer::Cut(100), Answer::Cut(0), Answer::Status(503), Answer::Status(503)]);
    let error = get(&manifest, dir.path()).unwrap_err().to_string();
    assert!(error.contains(IMAGES) && error.contains("answers 503, 3 times in a row"), "{error}");
    assert!(!dir.path().join("mnist").exists());
    assert_eq!(get(&manifest, dir.path()).unwrap(), Outcome::Fetched);
    assert_eq!(server.asked(IMAGES)[4..], [100]);
    assert_clean(dir.path());
}

#[test]
fn servers_without_ranges_and_with_wrong_ones_begin_anew() {
    let (server, manifest) = served();
    for (answers, asked) in [
        (vec![Answer::Cut(100), Answer::Whole], vec![0, 100]),
        (vec![Answer::Cut(100), Answer::WrongRange], vec![0, 100, 0]),
        (vec![Answer::Cut(100), Answer::Status(416)], vec![0, 100, 0]),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let before = server.asked(IMAGES).len();
        server.script(IMAGES, answers);
        assert_eq!(get(&manifest, dir.path()).unwrap(), Outcome::Fetched);
        assert_eq!(server.asked(IMAGES)[before..], asked);
    }
}

#[test]
fn redirects_and_chunks_are_followed() {
    let (server, manifest) = served();
    let dir = tempfile::tempdir().unwrap();
    let again = format!("/{IMAGES}");
    let whole = format!("{}/{IMAGES}", server.url);
    server.script(
        IMAGES,
        [Answer::Moved(again.clone()), Answer::Moved(IMAGES.into()), Answer::Moved(whole), Answer::Chunks],
    );
    assert_eq!(get(&manifest, dir.path()).unwrap(), Outcome::Fetched);
    assert_eq!(server.asked(IMAGES), [0; 4]);

    server.script(IMAGES, vec![Answer::Moved(again); 11]);
    let error = get(&manifest, tempfile::tempdir().unwrap().path()).unwrap_err().to_string();
    assert!(error.contains("leads from one address to the next more than 10 times"), "{error}");
}

#[test]
fn a_part_of_another_file_is_thrown_away() {
    let (server, manifest) = served();
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join(".fetch-mnist")).unwrap();
    fs::write(dir.path().join(format!(".fetch-mnist/{IMAGES}.part")), [0; 77]).unwrap();
    assert_eq!(get(&manifest, dir.path()).unwrap(), Outcome::Fetched);
    assert_eq!(server.asked(IMAGES), [77, 0]);
}

#[test]
fn a_missing_mirror_gives_way_to_the_next() {
    let server = Server::start(small(&[]).archives);
    // A port where nobody listens, a server without the files, the right one.
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (gone, empty) = (format!("http://{gone}"), Server::start([]));
    let manifest = Manifest::parse(&small(&[&gone, &empty.url, &server.url]).manifest).unwrap();
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(get(&manifest, dir.path()).unwrap(), Outcome::Fetched);
    assert_eq!((empty.asked(IMAGES), server.asked(IMAGES)), (vec![0], vec![0]));

    let manifest = Manifest::parse(&small(&[&gone, &empty.url]).manifest).unwrap();
    let error = get(&manifest, tempfile::tempdir().unwrap().path()).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{IMAGES} could not be had:\n  {gone}/{IMAGES}: ")), "{error}");
    assert!(error.ends_with(&format!("\n  {}/{IMAGES}: answers 404", empty.url)), "{error}");

    let options = Options { mirrors: vec![format!("{}/", server.url)], ..quick() };
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(fetch(&manifest, dir.path(), &options, &mut ()).unwrap(), Outcome::Fetched);
}

#[test]
fn another_file_of_the_same_size_is_refused_and_the_next_mirror_asked() {
    let (good, bad) = (Server::start(small(&[]).archives), Server::start(small(&[]).archives));
    let length = small(&[]).archives[0].1.len();
    let manifest = Manifest::parse(&small(&[&bad.url, &good.url]).manifest).unwrap();
    bad.script(IMAGES, [Answer::Other(vec![7; length])]);
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(get(&manifest, dir.path()).unwrap(), Outcome::Fetched);
    assert_eq!(good.asked(IMAGES), [0]);

    let manifest = Manifest::parse(&small(&[&bad.url]).manifest).unwrap();
    for (other, message) in
        [(vec![7; length], "is another file: its SHA-256 is"), (vec![7; length + 1], "sends more than the")]
    {
        bad.script(IMAGES, [Answer::Other(other)]);
        let dir = tempfile::tempdir().unwrap();
        let error = get(&manifest, dir.path()).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
        assert!(!dir.path().join("mnist").exists());
    }
    // A server that says beforehand that it has something else is not listened to.
    let text = small(&[&good.url]).manifest.replace(&format!("bytes = {length}\n"), "bytes = 9\n");
    let error = get(&Manifest::parse(&text).unwrap(), tempfile::tempdir().unwrap().path()).unwrap_err().to_string();
    assert!(error.contains(&format!("offers {length} bytes; expected 9")), "{error}");
}

/// Lines said while something is fetched.
struct Lines<'a>(&'a Mutex<Vec<String>>);

impl Progress for Lines<'_> {
    fn say(&mut self, line: &str) {
        self.0.lock().unwrap().push(line.to_owned());
    }
}

/// Locks are held against threads as against processes.
#[test]
fn several_at_once_download_once() {
    let (server, manifest) = served();
    let dir = tempfile::tempdir().unwrap();
    server.script(IMAGES, [Answer::Late(Duration::from_millis(200))]);
    let outcomes: Vec<Outcome> = thread::scope(|scope| {
        let handles: Vec<_> = (0..3).map(|_| scope.spawn(|| get(&manifest, dir.path()).unwrap())).collect();
        handles.into_iter().map(|handle| handle.join().unwrap()).collect()
    });
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Outcome::Fetched).count(), 1, "{outcomes:?}");
    assert_eq!(server.asked(IMAGES), [0]);
    assert_clean(dir.path());
}

#[test]
fn who_comes_second_says_so_and_waits() {
    let (server, manifest) = served();
    let dir = tempfile::tempdir().unwrap();
    let lines = Mutex::new(Vec::new());
    let said = || lines.lock().unwrap().iter().any(|line| line == "another process is at mnist; waiting for it");
    let lock = Lock::acquire(dir.path(), "mnist", || panic!("nobody else is there")).unwrap();
    thread::scope(|scope| {
        let second = scope.spawn(|| fetch(&manifest, dir.path(), &quick(), &mut Lines(&lines)).unwrap());
        while !said() {
            thread::sleep(Duration::from_millis(1));
        }
        assert!(server.asked(IMAGES).is_empty() && !second.is_finished());
        drop(lock);
        assert_eq!(second.join().unwrap(), Outcome::Fetched);
    });
}

#[test]
fn faulty_files_alone_are_fetched_again() {
    let (server, manifest) = served();
    let dir = tempfile::tempdir().unwrap();
    get(&manifest, dir.path()).unwrap();
    let labels = dir.path().join("mnist/t10k-labels-idx1-ubyte");
    fs::write(&labels, b"nonsense").unwrap();
    assert_eq!(get(&manifest, dir.path()).unwrap(), Outcome::Fetched);
    assert_eq!((server.asked(IMAGES).len(), server.asked("t10k-labels-idx1-ubyte.gz").len()), (1, 2));
    assert_eq!(get(&manifest, dir.path()).unwrap(), Outcome::AlreadyThere);
    assert_clean(dir.path());
}

#[test]
fn archives_in_a_local_folder_need_no_network() {
    let small = small(&["http://nowhere.invalid"]);
    let manifest = Manifest::parse(&small.manifest).unwrap();
    let (from, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let options = Options { from: Some(from.path().to_owned()), ..quick() };
    let error = fetch(&manifest, dir.path(), &options, &mut ()).unwrap_err().to_string();
    assert!(error.contains(IMAGES), "{error}");
    for (name, bytes) in &small.archives {
        fs::write(from.path().join(name), bytes).unwrap();
    }
    assert_eq!(fetch(&manifest, dir.path(), &options, &mut ()).unwrap(), Outcome::Fetched);
    assert_clean(dir.path());
    assert_eq!(fs::read_dir(from.path()).unwrap().count(), 4, "the archives stay");
}

/// Archives that are what the manifest says and still no data set: nothing of them appears.
#[test]
fn contents_that_are_another_data_set_do_not_appear() {
    let small = small(&["http://nowhere.invalid"]);
    let (from, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for (name, bytes) in &small.archives {
        fs::write(from.path().join(name), bytes).unwrap();
    }
    let sum = Checksum::of(&small.files[0].1).to_string();
    let manifest = Manifest::parse(&small.manifest.replace(&sum, &"0".repeat(64))).unwrap();
    let options = Options { from: Some(from.path().to_owned()), ..quick() };
    let error = fetch(&manifest, dir.path(), &options, &mut ()).unwrap_err().to_string();
    assert!(error.contains("another content than the manifest says") && error.contains("is another file"), "{error}");
    assert!(!dir.path().join("mnist").exists() && !dir.path().join(".fetch-mnist").exists());
}

/// The manifest of small CIFAR records in a tape archive with these bytes.
fn taped(archive: &[u8]) -> Manifest {
    let sum = Checksum::of(archive);
    Manifest::parse(&format!(
        "name = \"tiny\"\ntitle = \"Tiny\"\nabout = \"a\"\ncitation = \"c\"\nlicence = \"l\"\nhomepage = \"h\"\n\
         shape = [1, 2, 2]\ntrain = 2\ntest = 1\nclasses = [\"a\", \"b\"]\nmean = [0.5]\nstd = [0.5]\n\
         [[form]]\nformat = \"cifar\"\nlabel_bytes = 1\n\
         [[form.file]]\npath = \"bin/train.bin\"\npart = \"train\"\nbytes = 10\nsha256 = \"unknown\"\n\
         [[form.file]]\npath = \"bin/test.bin\"\npart = \"test\"\nbytes = 5\nsha256 = \"unknown\"\n\
         [[archive]]\nname = \"tiny.tar.gz\"\npack = \"tar_gz\"\nbytes = {}\nsha256 = \"{sum}\"\n\
         mirrors = [\"http://nowhere.invalid/tiny.tar.gz\"]\n",
        archive.len()
    ))
    .unwrap()
}

/// One header of 512 bytes with its content and padding, written by hand so that it can say what a library would not.
fn taped_entry(name: &str, kind: u8, content: &[u8], claimed: u64) -> Vec<u8> {
    let mut header = [0u8; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[100..107].copy_from_slice(b"0000644");
    header[124..135].copy_from_slice(format!("{claimed:011o}").as_bytes());
    header[156] = kind;
    if kind == b'2' {
        header[157..168].copy_from_slice(b"/etc/passwd");
    }
    header[257..263].copy_from_slice(b"ustar\0");
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    let padding = vec![0; content.len().next_multiple_of(512) - content.len()];
    [&header[..], content, &padding].concat()
}

fn tape(entries: &[Vec<u8>]) -> Vec<u8> {
    gzip(&[entries.concat(), vec![0; 1024]].concat())
}

fn from_tape(archive: &[u8]) -> (tempfile::TempDir, Result<Outcome, String>) {
    let (from, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(from.path().join("tiny.tar.gz"), archive).unwrap();
    let options = Options { from: Some(from.path().to_owned()), ..quick() };
    let outcome = fetch(&taped(archive), dir.path(), &options, &mut ()).map_err(|error| error.to_string());
    (dir, outcome)
}

#[test]
fn tape_archives_are_unpacked_within_bounds() {
    let train = || taped_entry("bin/train.bin", b'0', &[0, 1, 2, 3, 4, 1, 5, 6, 7, 8], 10);
    let test = || taped_entry("./bin/test.bin", b'0', &[1, 9, 9, 9, 9], 5);
    let good =
        tape(&[taped_entry("bin/", b'5', &[], 0), train(), taped_entry("bin/readme.html", b'0', b"hi", 2), test()]);
    let (dir, outcome) = from_tape(&good);
    assert_eq!(outcome, Ok(Outcome::Fetched));
    let [read, _] = read::read(&taped(&good), dir.path()).unwrap();
    assert_eq!((read.labels, read.images.row(1)), (vec![0, 1], &[5, 6, 7, 8][..]));
    assert!(!dir.path().join("tiny/bin/readme.html").exists(), "only what is read is kept");

    let huge = (1 << 33) - 1;
    for (entries, message) in [
        (vec![train(), taped_entry("bin/../../x", b'0', b"x", 1)], "\"bin/../../x\" leads out of the archive"),
        (vec![train(), taped_entry("/x", b'0', b"x", 1)], "\"/x\" leads out of the archive"),
        (vec![taped_entry("bin/train.bin", b'2', &[], 0), test()], "bin/train.bin is a link, which no data set needs"),
        (vec![taped_entry("bin/train.bin", b'1', &[], 0), test()], "bin/train.bin is a link, which no data set needs"),
        (vec![taped_entry("bin/dev", b'3', &[], 0), train(), test()], "bin/dev is neither a file nor a folder"),
        (vec![train(), taped_entry("big", b'0', &[], huge)], "swells to more than"),
        (vec![train()], "bin/test.bin: is missing"),
        (vec![train(), taped_entry("bin/test.bin", b'0', &[2, 9, 9, 9, 9], 5)], "label 2 of image 0 is none of the 2"),
        (vec![train(), taped_entry("bin/test.bin", b'0', &[1, 9, 9, 9], 4)], "ends here, after 4 of 5 bytes"),
    ] {
        let (dir, outcome) = from_tape(&tape(&entries));
        let found = outcome.unwrap_err();
        assert!(found.contains(message), "{found}\nnot: {message}");
        assert!(!dir.path().join("tiny").exists() && !Path::new("/x").exists());
    }
    let (_, outcome) = from_tape(&good[..good.len() - 9]);
    assert!(outcome.unwrap_err().contains("is damaged"));
}
