//! Free ports, and the question whether the broker is ready, asked on the wire without a Kafka client: the
//! library's client is what the tests are about, and it would hide how long the start takes.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// Between two questions. The broker gives no sign when it is ready, so there is no event to wait for.
const PAUSE: Duration = Duration::from_millis(30);
/// For one question: loopback, so a broker that is there answers in a few milliseconds.
const ANSWER: Duration = Duration::from_secs(2);

/// A Metadata request, version 1, that asks for no topics: what comes back are the brokers in service.
const METADATA_V1: [u8; 18] = [
    0, 0, 0, 14, // length of the rest
    0, 3, 0, 1, // api key, version
    0, 0, 0, 7, // correlation id
    0xff, 0xff, // no client id
    0, 0, 0, 0, // no topics
];

/// How the waiting ended.
pub(super) enum Waited {
    /// The broker is in service.
    Ready,
    /// Its process ended with this status.
    Ended(String),
    /// Neither, and the time is over.
    TimedOut,
}

/// Ports that are free now. Both are held until both are known, so they differ.
pub(super) fn free_ports() -> io::Result<[u16; 2]> {
    let listen = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let (first, second) = (listen()?, listen()?);
    Ok([first.local_addr()?.port(), second.local_addr()?.port()])
}

/// Asks until the broker counts itself among the brokers in service; `ended` tells that its process is gone.
pub(super) fn wait_for_broker(port: u16, timeout: Duration, ended: impl Fn() -> Option<String>) -> Waited {
    let deadline = Instant::now() + timeout;
    while Instant::now() < deadline {
        if let Some(status) = ended() {
            return Waited::Ended(status);
        }
        if brokers_in_service(port).is_ok_and(|brokers| brokers > 0) {
            return Waited::Ready;
        }
        thread::sleep(PAUSE);
    }
    Waited::TimedOut
}

/// A broker that does not count itself yet is fenced: it answers, but topics cannot be made.
fn brokers_in_service(port: u16) -> io::Result<i32> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut connection = TcpStream::connect_timeout(&address, ANSWER)?;
    connection.set_read_timeout(Some(ANSWER))?;
    connection.write_all(&METADATA_V1)?;
    // Length, correlation id, number of brokers.
    let mut head = [0; 12];
    connection.read_exact(&mut head)?;
    Ok(i32::from_be_bytes([head[8], head[9], head[10], head[11]]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_that_is_still_fenced_is_not_ready() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = thread::spawn(move || {
            let mut asked = 0;
            for brokers in [0u8, 0, 1] {
                let (mut connection, _) = listener.accept().unwrap();
                let mut request = [0; METADATA_V1.len()];
                connection.read_exact(&mut request).unwrap();
                connection.write_all(&[0, 0, 0, 8, 0, 0, 0, 7, 0, 0, 0, brokers]).unwrap();
                asked += 1;
            }
            asked
        });
        assert!(matches!(wait_for_broker(port, Duration::from_secs(20), || None), Waited::Ready));
        assert_eq!(server.join().unwrap(), 3);
    }

    #[test]
    fn a_broker_that_died_is_not_waited_for() {
        let [port, _] = free_ports().unwrap();
        let waited = wait_for_broker(port, Duration::from_secs(60), || Some("1".to_owned()));
        assert!(matches!(waited, Waited::Ended(status) if status == "1"));
    }
}
