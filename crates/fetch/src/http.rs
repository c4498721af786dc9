//! As much of HTTP/1.1 as a download needs: one GET per connection, with TLS, redirects and proxies.
//!
//! A client crate would be less to read, but those there are turn on features of crates that Burn is built on, and so build
//! Burn a second time for everyone who builds Kiln's parts apart.
use std::{
    env,
    io::{self, BufRead, BufReader, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    sync::{Arc, OnceLock},
    time::Duration,
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};

/// Redirects that are followed.
const MAX_REDIRECTS: usize = 10;
/// Bytes of an answer's head.
const MAX_HEAD: u64 = 1 << 16;

/// Why there is no answer.
#[derive(Debug)]
pub enum Failure {
    /// The address will never give one.
    Useless(String),
    /// It may next time.
    Again(String),
}

/// The head of an answer, and its body to be read.
pub struct Response {
    /// Such as 200.
    pub status: u16,
    headers: Vec<(String, String)>,
    /// The body; it ends early if the connection does.
    pub body: Box<dyn Read>,
}

impl Response {
    /// The value of a header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// An address of the form `http://HOST[:PORT][/PATH]`, or `https`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Url {
    tls: bool,
    host: String,
    port: u16,
    path: String,
}

impl Url {
    fn parse(text: &str) -> Result<Self, String> {
        let refuse = |what: &str| Err(format!("\"{text}\" {what}"));
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return refuse("holds spaces or letters that an address may not have");
        }
        let (tls, rest) = match text.split_once("://") {
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            _ => return refuse("is no address that begins with http:// or https://"),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let (authority, path) = rest.find(['/', '?']).map_or((rest, ""), |at| rest.split_at(at));
        if authority.contains('@') {
            return refuse("names a user, which is not supported");
        }
        let (host, port) = match authority.rsplit_once(':') {
            // The colons of an address of version 6 stand in brackets.
            Some((host, port)) if !port.contains(']') => match port.parse() {
                Ok(port) => (host, port),
                Err(_) => return refuse("has a port that is none"),
            },
            _ => (authority, if tls { 443 } else { 80 }),
        };
        if host.is_empty() {
            return refuse("names no host");
        }
        let slash = if path.starts_with('/') { "" } else { "/" };
        Ok(Self { tls, host: host.to_ascii_lowercase(), port, path: format!("{slash}{path}") })
    }

    /// The host without the brackets of an address of version 6.
    fn name(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    /// Host and port as the `Host` header has them.
    fn authority(&self) -> String {
        let usual = if self.tls { 443 } else { 80 };
        if self.port == usual { self.host.clone() } else { format!("{}:{}", self.host, self.port) }
    }

    /// Where a `Location` header leads from here.
    fn join(&self, location: &str) -> Result<Self, String> {
        let scheme = if self.tls { "https" } else { "http" };
        let next = if location.contains("://") {
            Self::parse(location)?
        } else if let Some(rest) = location.strip_prefix("//") {
            Self::parse(&format!("{scheme}://{rest}"))?
        } else if location.starts_with('/') {
            Self::parse(&format!("{scheme}://{}{location}", self.authority()))?
        } else {
            let folder = self.path.rsplit_once('/').map_or("", |(folder, _)| folder);
            Self::parse(&format!("{scheme}://{}{folder}/{location}", self.authority()))?
        };
        if self.tls && !next.tls {
            return Err(format!("leads from https to \"{location}\""));
        }
        Ok(next)
    }
}

/// Asks for an address with further headers, and follows where it leads. `timeout` bounds each wait: for a connection and for
/// the next bytes.
///
/// # Errors
/// If the address makes no sense, nobody answers, or what answers speaks no HTTP.
pub fn get(url: &str, headers: &[(&str, String)], timeout: Duration) -> Result<Response, Failure> {
    let mut url = Url::parse(url).map_err(Failure::Useless)?;
    for _ in 0..=MAX_REDIRECTS {
        let response = ask(&url, headers, timeout)?;
        let location = response.header("location");
        match (response.status, location) {
            (301 | 302 | 303 | 307 | 308, Some(location)) => url = url.join(location).map_err(Failure::Useless)?,
            _ => return Ok(response),
        }
    }
    Err(Failure::Useless(format!("leads from one address to the next more than {MAX_REDIRECTS} times")))
}

/// One request and the head of its answer.
fn ask(url: &Url, headers: &[(&str, String)], timeout: Duration) -> Result<Response, Failure> {
    let again = |error: io::Error| Failure::Again(error.to_string());
    let proxy = proxy(url, |name| env::var(name).ok()).map_err(Failure::Useless)?;
    let mut tcp = connect(proxy.as_ref().unwrap_or(url), timeout)?;
    // Through a proxy, TLS goes in a tunnel, and plain requests name the whole address.
    let target = match (&proxy, url.tls) {
        (Some(_), false) => format!("http://{}{}", url.authority(), url.path),
        _ => url.path.clone(),
    };
    if proxy.is_some() && url.tls {
        tunnel(&mut tcp, url)?;
    }
    let mut stream: Box<dyn Stream> = if url.tls { Box::new(tls(url, tcp)?) } else { Box::new(tcp) };
    let mut request =
        format!("GET {target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nAccept: */*\r\n", url.authority());
    request += concat!("User-Agent: kiln/", env!("CARGO_PKG_VERSION"), "\r\n");
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    stream.write_all(format!("{request}\r\n").as_bytes()).and_then(|()| stream.flush()).map_err(again)?;

    let mut reader = BufReader::new(stream);
    let (status, headers) = head(&mut reader)?;
    let value = |name: &str| headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let chunked = value("transfer-encoding").is_some_and(|coding| coding.to_ascii_lowercase().contains("chunked"));
    let length = value("content-length").map(str::parse::<u64>);
    let body: Box<dyn Read> = match (chunked, length) {
        (true, _) => Box::new(Chunked { reader, left: 0, state: Chunk::Size }),
        (false, Some(Ok(length))) => Box::new(reader.take(length)),
        (false, Some(Err(_))) => return Err(Failure::Useless("answers with a length that is no number".into())),
        (false, None) => Box::new(reader),
    };
    Ok(Response { status, headers, body })
}

/// What a request is written to and an answer read from.
trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

fn connect(url: &Url, timeout: Duration) -> Result<TcpStream, Failure> {
    let addresses = (url.name(), url.port)
        .to_socket_addrs()
        .map_err(|error| Failure::Again(format!("the host {} is not found: {error}", url.name())))?;
    let mut last = format!("the host {} has no address", url.name());
    for address in addresses {
        match TcpStream::connect_timeout(&address, timeout) {
            Ok(tcp) => {
                let set = tcp.set_read_timeout(Some(timeout)).and_then(|()| tcp.set_write_timeout(Some(timeout)));
                set.map_err(|error| Failure::Again(error.to_string()))?;
                return Ok(tcp);
            }
            Err(error) => last = format!("no connection to {address}: {error}"),
        }
    }
    Err(Failure::Again(last))
}

/// Has a proxy connect to the host of `url`.
fn tunnel(tcp: &mut TcpStream, url: &Url) -> Result<(), Failure> {
    let again = |error: io::Error| Failure::Again(format!("the proxy: {error}"));
    let place = format!("{}:{}", url.host, url.port);
    write!(tcp, "CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n\r\n").map_err(again)?;
    // Byte by byte: what follows the head belongs to the tunnel and must not end in a buffer.
    let (status, _) = head(&mut BufReader::with_capacity(1, tcp))?;
    if status == 200 { Ok(()) } else { Err(Failure::Again(format!("the proxy answers {status}"))) }
}

/// Encrypts a connection; the server must prove to be the host of `url`.
fn tls(url: &Url, tcp: TcpStream) -> Result<StreamOwned<ClientConnection, TcpStream>, Failure> {
    static CONFIG: OnceLock<Result<Arc<ClientConfig>, String>> = OnceLock::new();
    let config = CONFIG.get_or_init(|| {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        // As other tools have it, for networks with an authority of their own.
        if let Some(path) = env::var_os("SSL_CERT_FILE").filter(|path| !path.is_empty()) {
            let wrong = |error: &dyn std::fmt::Display| format!("SSL_CERT_FILE {}: {error}", path.display());
            for certificate in CertificateDer::pem_file_iter(&path).map_err(|error| wrong(&error))? {
                // One that cannot be used is passed over, as there are such in the files of systems.
                let _ = roots.add(certificate.map_err(|error| wrong(&error))?);
            }
        }
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
    });
    let config = config.clone().map_err(Failure::Useless)?;
    let name = ServerName::try_from(url.name().to_owned())
        .map_err(|_| Failure::Useless(format!("\"{}\" is no name of a host", url.name())))?;
    let connection = ClientConnection::new(config, name).map_err(|error| Failure::Useless(error.to_string()))?;
    Ok(StreamOwned::new(connection, tcp))
}

/// The proxy that leads to `url`, by the variables that other tools obey; none to this machine itself.
fn proxy(url: &Url, variable: impl Fn(&str) -> Option<String>) -> Result<Option<Url>, String> {
    let variable = |names: &[&str]| names.iter().find_map(|name| variable(name).filter(|value| !value.is_empty()));
    if ["localhost", "127.0.0.1", "::1"].contains(&url.name()) {
        return Ok(None);
    }
    let excepted = variable(&["no_proxy", "NO_PROXY"]).unwrap_or_default();
    let is_excepted = |except: &str| {
        let except = except.trim().trim_start_matches("*.").trim_start_matches('.').to_ascii_lowercase();
        except == "*" || url.name() == except || (!except.is_empty() && url.name().ends_with(&format!(".{except}")))
    };
    if excepted.split(',').any(is_excepted) {
        return Ok(None);
    }
    // Not HTTP_PROXY: a web server sets it from a request's header.
    let names: &[&str] = if url.tls {
        &["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]
    } else {
        &["http_proxy", "all_proxy", "ALL_PROXY"]
    };
    let Some(proxy) = variable(names) else { return Ok(None) };
    let proxy = if proxy.contains("://") { proxy } else { format!("http://{proxy}") };
    let parsed = Url::parse(&proxy).map_err(|what| format!("the proxy {what}"))?;
    if parsed.tls {
        Err(format!("the proxy \"{proxy}\" is to be spoken to in TLS; only http:// is"))
    } else {
        Ok(Some(parsed))
    }
}

type Head = (u16, Vec<(String, String)>);

/// Reads status and headers, names in lower case.
fn head(reader: &mut dyn BufRead) -> Result<Head, Failure> {
    let mut reader = reader.take(MAX_HEAD);
    let mut line = || {
        let mut line = Vec::new();
        let read = reader.read_until(b'\n', &mut line);
        read.map_err(|error| Failure::Again(format!("no answer: {error}")))?;
        if line.pop() != Some(b'\n') {
            return Err(Failure::Again("the answer ends within its head".into()));
        }
        let line = String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned();
        Ok(line)
    };
    let first = line()?;
    let status =
        first.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1)).and_then(|code| code.parse().ok());
    let Some(status) = status else {
        return Err(Failure::Useless("what answers speaks no HTTP".into()));
    };
    let mut headers = Vec::new();
    loop {
        let line = line()?;
        if line.is_empty() {
            return Ok((status, headers));
        }
        if let Some((name, value)) = line.split_once(':') {
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
}

/// Takes a body that comes in chunks apart (RFC 9112, section 7.1).
struct Chunked<R> {
    reader: R,
    left: u64,
    state: Chunk,
}

enum Chunk {
    /// A line with the size of the next chunk follows.
    Size,
    /// The rest of a chunk follows.
    Data,
    /// All has been read.
    End,
}

impl<R: BufRead> Chunked<R> {
    fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        (&mut self.reader).take(1 << 12).read_until(b'\n', &mut line)?;
        if line.pop() != Some(b'\n') {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the body ends within a chunk"));
        }
        Ok(String::from_utf8_lossy(&line).trim().to_owned())
    }
}

impl<R: BufRead> Read for Chunked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.state {
                Chunk::End => return Ok(0),
                Chunk::Size => {
                    let line = self.line()?;
                    let size = line.split(';').next().unwrap_or_default().trim();
                    self.left = u64::from_str_radix(size, 16)
                        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "the size of a chunk is no number"))?;
                    self.state = if self.left == 0 { Chunk::End } else { Chunk::Data };
                }
                Chunk::Data if self.left == 0 => {
                    self.line()?;
                    self.state = Chunk::Size;
                }
                Chunk::Data => {
                    let most = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
                    let count = self.reader.read(&mut buffer[..most])?;
                    if count == 0 && most > 0 {
                        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the body ends within a chunk"));
                    }
                    self.left -= count as u64;
                    return Ok(count);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn addresses_are_taken_apart() {
        let parts = |text: &str| {
            let Url { tls, host, port, path } = url(text);
            (tls, host, port, path)
        };
        assert_eq!(parts("http://Host.org"), (false, "host.org".into(), 80, "/".into()));
        assert_eq!(parts("https://host.org:8443/a/b?c#d"), (true, "host.org".into(), 8443, "/a/b?c".into()));
        assert_eq!(parts("http://[::1]:80?x"), (false, "[::1]".into(), 80, "/?x".into()));
        assert_eq!((url("http://[::1]/").name(), url("http://[::1]/").port), ("::1", 80));
        assert_eq!((url("https://a:443/").authority(), url("http://a:443/").authority()), ("a".into(), "a:443".into()));
        for (text, what) in [
            ("ftp://a/b", "is no address that begins with http:// or https://"),
            ("a/b", "is no address"),
            ("http://a b", "holds spaces"),
            ("http://a/\r\nX: y", "holds spaces"),
            ("http:///b", "names no host"),
            ("http://a:x/b", "has a port that is none"),
            ("http://me:secret@a/b", "names a user"),
        ] {
            let found = Url::parse(text).unwrap_err();
            assert!(found.contains(what), "{found}");
        }
    }

    #[test]
    fn redirects_lead_on_but_not_out_of_encryption() {
        let from = url("https://a.org/x/y?z");
        for (location, expected) in [
            ("https://b.org/c", "https://b.org/c"),
            ("//b.org/c", "https://b.org/c"),
            ("/c", "https://a.org/c"),
            ("c", "https://a.org/x/c"),
        ] {
            assert_eq!(from.join(location).unwrap(), url(expected), "{location}");
        }
        assert!(from.join("http://a.org/x").unwrap_err().contains("leads from https"));
        assert!(from.join("gopher://a").is_err());
    }

    #[test]
    fn proxies_are_those_of_other_tools() {
        let set = |name: &str| match name {
            "https_proxy" => Some("http://proxy:3128".to_owned()),
            "http_proxy" => Some("proxy:80".into()),
            "NO_PROXY" => Some("inside.org, .other.org,*.third.org".into()),
            _ => None,
        };
        let proxy = |text: &str| super::proxy(&url(text), set).unwrap().map(|proxy| (proxy.host, proxy.port));
        assert_eq!(proxy("https://a.org"), Some(("proxy".into(), 3128)));
        assert_eq!(proxy("http://a.org"), Some(("proxy".into(), 80)));
        for direct in
            ["http://localhost:9", "https://[::1]", "http://127.0.0.1:1", "https://inside.org", "http://x.inside.org"]
        {
            assert_eq!(proxy(direct), None, "{direct}");
        }
        assert_eq!((proxy("http://x.other.org"), proxy("http://x.third.org")), (None, None));
        assert!(proxy("http://notinside.org").is_some());
        let wrong =
            super::proxy(&url("https://a"), |name| (name == "all_proxy").then(|| "https://p".into())).unwrap_err();
        assert!(wrong.contains("only http:// is"), "{wrong}");
    }

    #[test]
    fn heads_are_read_whole_or_not_at_all() {
        let read = |text: &str| head(&mut text.as_bytes());
        let (status, headers) =
            read("HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 1-2/3\r\nX:y\n\r\nbody").unwrap();
        assert_eq!(status, 206);
        assert_eq!(headers, [("content-range".into(), "bytes 1-2/3".into()), ("x".to_owned(), "y".to_owned())]);
        for (text, useless) in [("", false), ("HTTP/1.1 200 OK\r\nA: b", false), ("SSH-2.0-x\r\n\r\n", true)] {
            match read(text).unwrap_err() {
                Failure::Useless(what) => assert!(useless, "{what}"),
                Failure::Again(what) => assert!(!useless, "{what}"),
            }
        }
        let endless = format!("HTTP/1.1 200 OK\r\n{}", "A: b\r\n".repeat(20_000));
        assert!(matches!(read(&endless), Err(Failure::Again(_))));
    }

    #[test]
    fn chunks_are_put_together() {
        let body = |text: &str| {
            let mut bytes = Vec::new();
            let mut chunked = Chunked { reader: text.as_bytes(), left: 0, state: Chunk::Size };
            chunked
                .read_to_end(&mut bytes)
                .map(|_| String::from_utf8(bytes).unwrap())
                .map_err(|error| error.to_string())
        };
        assert_eq!(body("3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n").unwrap(), "abc0123456789");
        for (text, what) in
            [("", "ends within a chunk"), ("5\r\nab", "ends within a chunk"), ("x\r\nab", "is no number")]
        {
            let found = body(text).unwrap_err();
            assert!(found.contains(what), "{found}");
        }
    }
}
