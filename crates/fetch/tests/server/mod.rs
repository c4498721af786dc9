//! A small HTTP server with ranges, and with the faults of the real ones.
#![allow(dead_code)]

use std::{
    collections::{HashMap, VecDeque},
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

/// How one request is answered.
#[derive(Clone, Debug)]
pub enum Answer {
    /// As it should be.
    Well,
    /// The connection ends after so many bytes of the body.
    Cut(usize),
    /// With a status and nothing else.
    Status(u16),
    /// With the whole file, whatever range was asked for.
    Whole,
    /// With a range other than the one asked for.
    WrongRange,
    /// With another file's content, without saying how long it is.
    Other(Vec<u8>),
    /// Elsewhere.
    Moved(String),
    /// Well, but in chunks and without saying how long it is.
    Chunks,
    /// Well, after a pause.
    Late(Duration),
}

/// A running server; it ends with the process.
pub struct Server {
    /// Its address, `http://127.0.0.1:PORT`.
    pub url: String,
    site: Arc<Site>,
}

#[derive(Default)]
struct Site {
    files: HashMap<String, Vec<u8>>,
    answers: Mutex<HashMap<String, VecDeque<Answer>>>,
    /// Path and first byte asked for, in order.
    asked: Mutex<Vec<(String, usize)>>,
}

impl Server {
    /// Serves these files.
    pub fn start(files: impl IntoIterator<Item = (String, Vec<u8>)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let site = Arc::new(Site { files: files.into_iter().collect(), ..Site::default() });
        let shared = site.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let site = shared.clone();
                thread::spawn(move || drop(site.serve(stream)));
            }
        });
        Self { url, site }
    }

    /// Answers the next requests for a file like this, and later ones well.
    pub fn script(&self, name: &str, answers: impl IntoIterator<Item = Answer>) {
        self.site.answers.lock().unwrap().entry(name.to_owned()).or_default().extend(answers);
    }

    /// The first byte of each request for a file so far.
    pub fn asked(&self, name: &str) -> Vec<usize> {
        self.site.asked.lock().unwrap().iter().filter(|(path, _)| path == name).map(|(_, from)| *from).collect()
    }
}

impl Site {
    fn serve(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut stream = stream;
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let name = line.split(' ').nth(1).unwrap_or("/").trim_start_matches('/').to_owned();
        let mut from = 0;
        loop {
            line.clear();
            reader.read_line(&mut line)?;
            if line.trim().is_empty() {
                break;
            }
            if let Some(range) = line.to_ascii_lowercase().strip_prefix("range: bytes=") {
                from = range.trim().trim_end_matches('-').parse().unwrap_or(0);
            }
        }
        self.asked.lock().unwrap().push((name.clone(), from));
        let scripted = self.answers.lock().unwrap().get_mut(&name).and_then(VecDeque::pop_front);
        let Some(file) = self.files.get(&name) else {
            return write!(stream, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        };
        let mut limit = usize::MAX;
        match scripted.unwrap_or(Answer::Well) {
            Answer::Well => {}
            Answer::Late(pause) => thread::sleep(pause),
            Answer::Cut(bytes) => limit = bytes,
            Answer::Whole => from = 0,
            Answer::Status(status) => {
                return write!(stream, "HTTP/1.1 {status} So\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            }
            Answer::Moved(to) => {
                return write!(stream, "HTTP/1.1 302 So\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n");
            }
            Answer::Chunks => {
                write!(stream, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n")?;
                for chunk in file.chunks(100) {
                    write!(stream, "{:x}\r\n", chunk.len())?;
                    stream.write_all(chunk)?;
                    write!(stream, "\r\n")?;
                }
                return write!(stream, "0\r\n\r\n");
            }
            Answer::WrongRange => {
                let (length, last) = (file.len(), file.len() - 1);
                write!(stream, "HTTP/1.1 206 Partial Content\r\nContent-Length: {length}\r\n")?;
                write!(stream, "Content-Range: bytes 0-{last}/{length}\r\nConnection: close\r\n\r\n")?;
                return stream.write_all(file);
            }
            Answer::Other(bytes) => {
                write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
                return stream.write_all(&bytes);
            }
        }
        if from >= file.len() {
            return write!(stream, "HTTP/1.1 416 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
        let body = &file[from..];
        let status = if from == 0 { "200 OK" } else { "206 Partial Content" };
        write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n", body.len())?;
        if from > 0 {
            write!(stream, "Content-Range: bytes {from}-{}/{}\r\n", file.len() - 1, file.len())?;
        }
        write!(stream, "\r\n")?;
        stream.write_all(&body[..limit.min(body.len())])?;
        stream.flush()
    }
}

/// A data set `mnist` in the form of the real one, but small: six grey images of 28 by 28 to train, three to test.
pub struct Small {
    /// The manifest's text; the archives' mirrors are the given addresses.
    pub manifest: String,
    /// The archives by name.
    pub archives: Vec<(String, Vec<u8>)>,
    /// The plain files by name.
    pub files: Vec<(String, Vec<u8>)>,
}

impl Small {
    /// Makes it, with this checksum function of 64 hexadecimal digits and this compressor.
    pub fn new(mirrors: &[&str], sha256: impl Fn(&[u8]) -> String, gzip: impl Fn(&[u8]) -> Vec<u8>) -> Self {
        let images = |count: u8| -> Vec<u8> {
            let header = [0, 0, 8, 3, 0, 0, 0, count, 0, 0, 0, 28, 0, 0, 0, 28];
            // Not too even, so that the archives have some length.
            let pixel = |i: usize| ((i * i % 251) ^ (i / 7 % 256)) as u8;
            [&header[..], &(0..usize::from(count) * 784).map(pixel).collect::<Vec<u8>>()].concat()
        };
        let labels =
            |count: u8| [&[0, 0, 8, 1, 0, 0, 0, count][..], &(0..count).map(|i| i % 3).collect::<Vec<u8>>()].concat();
        let files = vec![
            ("train-images-idx3-ubyte".to_owned(), images(6)),
            ("train-labels-idx1-ubyte".to_owned(), labels(6)),
            ("t10k-images-idx3-ubyte".to_owned(), images(3)),
            ("t10k-labels-idx1-ubyte".to_owned(), labels(3)),
        ];
        let archives: Vec<_> = files.iter().map(|(name, bytes)| (format!("{name}.gz"), gzip(bytes))).collect();
        let mut manifest = "name = \"mnist\"\ntitle = \"Small MNIST\"\nabout = \"a\"\ncitation = \"c\"\nlicence = \"l\"\n\
             homepage = \"h\"\nshape = [1, 28, 28]\ntrain = 6\ntest = 3\nclasses = [\"0\", \"1\", \"2\"]\nmean = [0.5]\n\
             std = [0.5]\n[[form]]\nformat = \"idx\"\n"
            .to_owned();
        let parts = ["train_images", "train_labels", "test_images", "test_labels"];
        for ((name, bytes), part) in files.iter().zip(parts) {
            let (length, sum) = (bytes.len(), sha256(bytes));
            manifest +=
                &format!("[[form.file]]\npath = \"{name}\"\npart = \"{part}\"\nbytes = {length}\nsha256 = \"{sum}\"\n");
        }
        for (name, bytes) in &archives {
            let (length, sum) = (bytes.len(), sha256(bytes));
            let mirrors: Vec<String> = mirrors.iter().map(|mirror| format!("\"{mirror}/{name}\"")).collect();
            let mirrors = mirrors.join(", ");
            manifest += &format!(
                "[[archive]]\nname = \"{name}\"\npack = \"gzip\"\nbytes = {length}\nsha256 = \"{sum}\"\nmirrors = [{mirrors}]\n"
            );
        }
        Self { manifest, archives, files }
    }
}
