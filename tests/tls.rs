//! TLS over raw callbacks, by the session of the example: server and client on one loop.

#[path = "../examples/tls/config.rs"]
mod config;
#[path = "../examples/tls/session.rs"]
mod session;
#[path = "../examples/tls/upper.rs"]
mod upper;

use std::cell::{Cell, RefCell};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use config::Config;
use oneloop::{Action, Event, HandlerId, Interest, Local, LocalReactor, Mode, Reactor};
use oneloop_support::{Drive, Watchdog, built_in};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_send_buffer_size};
use rustls::version::{TLS12, TLS13};
use rustls::{ALL_VERSIONS, SupportedProtocolVersion};
use session::{App, Session};
use upper::Upper;

const MEGABYTE: u64 = 1 << 20;
/// The ciphertext that rustls queues, and that records and key updates add to it.
const QUEUE: usize = 64 * 1024 + 4096;
/// The buffers of sockets that are to be full soon.
const ROOM: usize = 8 * 1024;

/// A loop, and how many sessions on it are not over.
struct Stage {
    reactor: LocalReactor,
    config: Config,
    open: Rc<Cell<usize>>,
    _watchdog: Watchdog,
}

impl Stage {
    fn new(versions: &[&'static SupportedProtocolVersion]) -> Stage {
        let reactor = Reactor::new_local().unwrap();
        Stage {
            reactor,
            config: Config::new(versions).unwrap(),
            open: Rc::default(),
            _watchdog: Watchdog::new("a session"),
        }
    }

    /// Called with how a session ended. The last one stops the loop.
    fn over(&self) -> (Over, impl FnMut(io::Result<()>) + use<>) {
        self.open.set(self.open.get() + 1);
        let over = Over::default();
        let (into, open, weak) = (over.clone(), self.open.clone(), self.reactor.downgrade());
        let ended = move |how| {
            assert!(into.0.replace(Some(how)).is_none(), "over twice");
            open.set(open.get() - 1);
            if open.get() == 0 {
                weak.upgrade().unwrap().stop();
            }
        };
        (over, ended)
    }

    /// A client and a server, not on the loop yet.
    fn pair(&self) -> (Session, Session) {
        let (client, server) = tcp_pair();
        self.sessions(client, server)
    }

    /// Makes two ends with little room between them.
    fn narrow_pair(&self) -> (Session, Session) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        // Those whom it accepts have it from the start.
        set_socket_recv_buffer_size(&listener, ROOM).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        set_socket_send_buffer_size(&client, ROOM).unwrap();
        let server = listener.accept().unwrap().0;
        self.sessions(client, server)
    }

    fn sessions(&self, client: TcpStream, server: TcpStream) -> (Session, Session) {
        let client = Session::new(client, self.config.client().unwrap());
        let server = Session::new(server, self.config.server().unwrap());
        (client.unwrap(), server.unwrap())
    }

    /// Puts a session on the loop.
    fn open(&self, session: Session, plan: Plan) -> Talk {
        let (over, ended) = self.over();
        let talk = Talk {
            log: Rc::default(),
            over,
        };
        let talker = Talker {
            plan,
            reactor: self.reactor.clone(),
            log: talk.log.clone(),
            handler: Rc::new(Cell::new(None)),
            next_rekey: plan.rekey_every,
            next_pause: plan.pause_every,
            ended: Box::new(ended),
        };
        let handler = talker.handler.clone();
        handler.set(Some(session.open(&self.reactor, talker).unwrap()));
        talk
    }

    /// A client and a server on the loop.
    fn talk(&self, client: Plan, server: Plan) -> (Talk, Talk) {
        let (client_session, server_session) = self.pair();
        let server = self.open(server_session, server);
        (self.open(client_session, client), server)
    }

    /// Drives until all sessions are over.
    fn run(&self, drive: Drive<Local>) {
        drive(&self.reactor).unwrap();
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.reactor.close();
    }
}

/// How a session ended.
#[derive(Clone, Default)]
struct Over(Rc<RefCell<Option<io::Result<()>>>>);

impl Over {
    fn expect_well(&self) {
        self.0.borrow().as_ref().unwrap().as_ref().unwrap();
    }

    /// Its error.
    fn expect_failure(&self, kind: ErrorKind) -> String {
        let how = self.0.borrow();
        let error = how.as_ref().unwrap().as_ref().unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        error.to_string()
    }
}

/// The work of one side. It sends so many bytes and closes, and checks what it gets until the other
/// side closes.
#[derive(Clone, Copy, Default)]
struct Plan {
    sends: u64,
    /// Sends only after the other side has closed.
    second: bool,
    /// Sends only after the handshake.
    patient: bool,
    /// Never closes.
    stays: bool,
    /// How much it reads in a call, if not the session's default.
    piece: Option<usize>,
    /// After how many bytes sent it changes its keys, if ever.
    rekey_every: Option<u64>,
    /// After how many bytes received it pauses, if ever, and for how many turns.
    pause_every: Option<u64>,
    pause_turns: usize,
}

fn sends(bytes: u64) -> Plan {
    Plan {
        sends: bytes,
        ..Plan::default()
    }
}

/// The results of one side.
struct Talk {
    log: Rc<Log>,
    over: Over,
}

#[derive(Default)]
struct Log {
    sent: Cell<u64>,
    received: Cell<u64>,
    rekeyed: Cell<u64>,
    pauses: Cell<u64>,
    calls: Cell<u64>,
    most_queued: Cell<usize>,
}

impl Talk {
    /// All came, the other side closed, and so did this one.
    fn expect_all(&self, received: u64) {
        self.over.expect_well();
        assert_eq!(self.log.received.get(), received);
    }
}

struct Talker {
    plan: Plan,
    reactor: LocalReactor,
    log: Rc<Log>,
    handler: Rc<Cell<Option<HandlerId>>>,
    next_rekey: Option<u64>,
    next_pause: Option<u64>,
    ended: Box<dyn FnMut(io::Result<()>)>,
}

impl Talker {
    fn send(&mut self, session: &mut Session) -> io::Result<()> {
        if self.plan.patient && session.tls().is_handshaking() {
            return Ok(());
        }
        while self.log.sent.get() < self.plan.sends {
            let from = self.log.sent.get();
            if self.next_rekey.is_some_and(|at| from >= at) && !session.tls().is_handshaking() {
                session.tls().refresh_traffic_keys().unwrap();
                self.log.rekeyed.set(self.log.rekeyed.get() + 1);
                self.next_rekey = self.plan.rekey_every.map(|every| from + every);
            }
            let to = self.plan.sends.min(from + 100_000);
            let written = session.write(&pattern(from, to));
            let queued = session.queued().max(self.log.most_queued.get());
            self.log.most_queued.set(queued);
            self.log.sent.set(from + written? as u64);
        }
        if !self.plan.stays {
            session.close();
        }
        Ok(())
    }

    /// Reads to the end.
    fn receive(&mut self, session: &mut Session) -> io::Result<()> {
        let mut buffer = [0; 5000];
        loop {
            if self
                .next_pause
                .is_some_and(|at| self.log.received.get() >= at)
            {
                self.pause(session);
                return Err(ErrorKind::WouldBlock.into());
            }
            let length = session.read(&mut buffer)?;
            if length == 0 {
                return Ok(());
            }
            let from = self.log.received.get();
            let to = from + length as u64;
            assert!(buffer[..length] == pattern(from, to), "at {from}");
            self.log.received.set(to);
        }
    }

    fn pause(&mut self, session: &mut Session) {
        session.pause();
        self.log.pauses.set(self.log.pauses.get() + 1);
        let every = self.plan.pause_every.unwrap();
        self.next_pause = Some(self.log.received.get() + every);
        let handler = self.handler.get().unwrap();
        let resume = move |reactor: &LocalReactor| {
            // With nothing to write: the room to write would call it too.
            let resumed = reactor.update_handler(handler, Interest::READABLE);
            resumed.unwrap();
        };
        after_turns(&self.reactor, self.plan.pause_turns, resume);
    }
}

impl App for Talker {
    fn ready(&mut self, session: &mut Session) -> io::Result<()> {
        self.log.calls.set(self.log.calls.get() + 1);
        if let Some(piece) = self.plan.piece {
            session.set_piece(piece);
        }
        if self.plan.second {
            self.receive(session)?;
            return self.send(session);
        }
        match self.send(session) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
            _ => self.receive(session),
        }
    }

    fn over(&mut self, how: io::Result<()>) {
        (self.ended)(how);
    }
}

/// The bytes that both sides send: eight of them say where they are.
fn pattern(from: u64, to: u64) -> Vec<u8> {
    let words = (from / 8..to.div_ceil(8))
        .flat_map(|word| word.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes());
    words
        .skip((from % 8) as usize)
        .take((to - from) as usize)
        .collect()
}

fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

/// Calls `then` in a post, `n` turns from now.
fn after_turns(reactor: &LocalReactor, n: usize, then: impl FnOnce(&LocalReactor) + 'static) {
    let next = reactor.clone();
    let post = move || match n {
        0 => then(&next),
        _ => after_turns(&next, n - 1, then),
    };
    reactor
        .call_soon(Box::new(post) as Box<dyn FnOnce()>)
        .unwrap();
}

fn megabytes_both_ways(drive: Drive<Local>, version: &'static SupportedProtocolVersion) {
    let stage = Stage::new(&[version]);
    let (client, server) = stage.talk(sends(5 * MEGABYTE + 1), sends(4 * MEGABYTE + 7));
    stage.run(drive);
    client.expect_all(4 * MEGABYTE + 7);
    server.expect_all(5 * MEGABYTE + 1);
    for side in [client, server] {
        assert!(side.log.most_queued.get() <= QUEUE);
    }
}

#[test]
fn megabytes_both_ways_at_once() {
    megabytes_both_ways(built_in, &TLS13);
}

#[test]
fn megabytes_both_ways_at_once_under_tls_1_2() {
    megabytes_both_ways(built_in, &TLS12);
}

#[test]
fn megabytes_both_ways_at_once_under_tokio() {
    megabytes_both_ways(oneloop_support::tokio, &TLS13);
}

#[test]
fn megabytes_both_ways_at_once_under_async_io() {
    megabytes_both_ways(oneloop_support::async_io, &TLS13);
}

/// The second side sends when the first has closed, which then still receives.
#[test]
fn one_direction_closes_and_the_other_goes_on() {
    let first = sends(MEGABYTE);
    let second = Plan {
        second: true,
        ..sends(2 * MEGABYTE)
    };
    for version in ALL_VERSIONS {
        for (client, server) in [(first, second), (second, first)] {
            let stage = Stage::new(&[version]);
            let (client_sent, server_sent) = (client.sends, server.sends);
            let (client, server) = stage.talk(client, server);
            stage.run(built_in);
            client.expect_all(server_sent);
            server.expect_all(client_sent);
        }
    }
}

/// The data on its way is bounded by the queue, the sockets' buffers and a record or two.
#[test]
fn a_slow_reader_bounds_the_senders_memory_and_loses_nothing() {
    let stage = Stage::new(&[&TLS13]);
    let (client, server) = stage.narrow_pair();
    let slow = Plan {
        piece: Some(1000),
        pause_every: Some(50_000),
        pause_turns: 20,
        ..sends(0)
    };
    let server = stage.open(server, slow);
    let client = stage.open(client, sends(2 * MEGABYTE));

    let (sent, received) = (client.log.clone(), server.log.clone());
    let most = Rc::new(Cell::new(0));
    let on_its_way = most.clone();
    let look = move || {
        let now = sent.sent.get() - received.received.get();
        on_its_way.set(now.max(on_its_way.get()));
    };
    stage.reactor.call_every(Duration::ZERO, look).unwrap();
    stage.run(built_in);

    client.expect_all(0);
    server.expect_all(2 * MEGABYTE);
    assert!(server.log.pauses.get() >= 40);
    // Linux doubles both.
    let bound = QUEUE + 4 * ROOM + 2 * 16 * 1024;
    assert!(most.get() <= bound as u64, "{} of {bound}", most.get());
    let queued = client.log.most_queued.get();
    assert!(
        (QUEUE / 2..=QUEUE).contains(&queued),
        "it fills, and no more: {queued}"
    );
}

/// rustls takes all of it at once, and the socket does not.
#[test]
fn queued_bytes_are_sent_when_there_is_room_again() {
    let stage = Stage::new(&[&TLS13]);
    let (client, server) = stage.narrow_pair();
    let reader = Plan {
        pause_every: Some(10_000),
        pause_turns: 10,
        ..sends(0)
    };
    let patient = Plan {
        patient: true,
        ..sends(60_000)
    };
    let (client, server) = (stage.open(client, patient), stage.open(server, reader));
    stage.run(built_in);
    client.expect_all(0);
    server.expect_all(60_000);
}

#[test]
fn keys_are_changed_during_the_transfer_by_both_sides() {
    let stage = Stage::new(&[&TLS13]);
    let rekeying = |bytes| Plan {
        rekey_every: Some(100_000),
        ..sends(bytes)
    };
    let (client, server) = stage.talk(rekeying(3 * MEGABYTE), rekeying(2 * MEGABYTE));
    stage.run(built_in);
    client.expect_all(2 * MEGABYTE);
    server.expect_all(3 * MEGABYTE);
    assert!(client.log.rekeyed.get() > 10 && server.log.rekeyed.get() > 10);
}

/// All of it is sent in one go, and then nothing more: what is left of the last record, and the
/// close that came with it, show on no descriptor.
#[test]
fn decrypted_bytes_do_not_wait_for_the_descriptor() {
    for piece in [1000, 1024, 16 * 1024] {
        let stage = Stage::new(&[&TLS13]);
        // It closes last: the end of the connection would show on the descriptor.
        let reader = Plan {
            piece: Some(piece),
            second: true,
            ..sends(0)
        };
        let burst = 48 * 1024;
        let (client, server) = stage.talk(sends(burst), reader);
        stage.run(built_in);
        client.expect_all(0);
        server.expect_all(burst);
        assert!(server.log.calls.get() >= burst / piece as u64);
    }
}

/// A reader pauses amid a record: the loop keeps its `Again`.
#[test]
fn resumed_it_gets_decrypted_bytes_though_the_descriptor_is_silent() {
    let stage = Stage::new(&[&TLS13]);
    let reader = Plan {
        pause_every: Some(5000),
        pause_turns: 10,
        ..sends(0)
    };
    let writer = Plan {
        stays: true,
        ..sends(16 * 1024)
    };
    let (_client, server) = stage.talk(writer, reader);
    run_until_received(&stage, &server, 16 * 1024);
    assert_eq!(server.log.pauses.get(), 3);
}

/// For sides that stay.
fn run_until_received(stage: &Stage, side: &Talk, bytes: u64) {
    let (log, stopper) = (side.log.clone(), stage.reactor.downgrade());
    let look = move || {
        if log.received.get() == bytes {
            stopper.upgrade().unwrap().stop();
        }
    };
    let timer = stage.reactor.call_every(Duration::ZERO, look).unwrap();
    stage.run(built_in);
    stage.reactor.cancel_timer(timer).unwrap();
}

/// Nothing to do means no call, whatever the sockets are ready for.
#[test]
fn an_idle_session_is_not_called() {
    let stage = Stage::new(ALL_VERSIONS);
    let stays = Plan {
        stays: true,
        ..sends(1000)
    };
    let (client, server) = stage.talk(stays, stays);
    let (half_closed, its_peer) = stage.talk(sends(0), stays);
    // This one gets no answer: it has much to send, and no keys yet.
    let (stream, _silent) = tcp_pair();
    let early = Session::new(stream, stage.config.client().unwrap()).unwrap();
    let early = stage.open(early, sends(MEGABYTE));

    let some_turns = || {
        after_turns(&stage.reactor, 100, |reactor| reactor.stop());
        stage.run(built_in);
    };
    let all = [client, server, half_closed, its_peer, early];
    let calls = || all.each_ref().map(|side| side.log.calls.get());
    run_until_received(&stage, &all[1], 1000);
    run_until_received(&stage, &all[2], 1000);
    some_turns();
    let before = calls();
    some_turns();
    assert_eq!(calls(), before);
}

/// Two sides that have to get through whatever else happens on the loop.
struct Healthy(Talk, Talk);

impl Healthy {
    fn start(stage: &Stage) -> Healthy {
        let (client, server) = stage.talk(sends(MEGABYTE), sends(MEGABYTE));
        Healthy(client, server)
    }

    fn expect_undisturbed(&self) {
        self.0.expect_all(MEGABYTE);
        self.1.expect_all(MEGABYTE);
    }
}

#[test]
fn rubbish_instead_of_tls_is_an_error_and_gets_an_alert() {
    let stage = Stage::new(ALL_VERSIONS);
    let healthy = Healthy::start(&stage);
    let (mut foe, server) = tcp_pair();
    let server = Session::new(server, stage.config.server().unwrap()).unwrap();
    let server = stage.open(server, sends(0));
    foe.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let (read, mut ended) = stage.over();
    let answer = Rc::new(RefCell::new(Vec::new()));
    let into = answer.clone();
    let collect = move |foe: &mut TcpStream, _| {
        let mut buffer = [0; 100];
        let length = foe.read(&mut buffer).unwrap();
        into.borrow_mut().extend_from_slice(&buffer[..length]);
        if length > 0 {
            return Action::Continue;
        }
        ended(Ok(()));
        Action::Remove
    };
    stage
        .reactor
        .add_handler(foe, Interest::READABLE, Mode::Level, collect)
        .unwrap();
    stage.run(built_in);
    let why = server.over.expect_failure(ErrorKind::InvalidData);
    assert!(why.contains("corrupt message"), "{why}");
    read.expect_well();
    let (alert, fatal) = (21, 2);
    let answer = answer.borrow();
    assert!(answer.len() == 7 && answer[0] == alert && answer[5] == fatal);
    healthy.expect_undisturbed();
}

/// Opens a session that sends a thousand bytes. In the turn in which it has done so, `then` gets the
/// client's socket; so what it does to it is there before the server has taken all of them.
fn interfere(stage: &Stage, then: impl FnOnce(&mut TcpStream) + 'static) -> (Talk, Talk) {
    let (client, server) = tcp_pair();
    let mut socket = client.try_clone().unwrap();
    let (client, server) = stage.sessions(client, server);
    let writer = Plan {
        patient: true,
        stays: true,
        ..sends(1000)
    };
    // rustls has no alert for a peer to which it has said close_notify, so that this one stays too.
    let reader = Plan {
        piece: Some(100),
        stays: true,
        ..sends(0)
    };
    let (client, server) = (stage.open(client, writer), stage.open(server, reader));
    let (log, mut then) = (client.log.clone(), Some(then));
    let look = move || {
        if log.sent.get() == 1000 {
            then.take().into_iter().for_each(|then| then(&mut socket));
        }
    };
    stage.reactor.call_every(Duration::ZERO, look).unwrap();
    (client, server)
}

#[test]
fn rubbish_amid_the_transfer_is_an_error_that_both_sides_see() {
    for version in ALL_VERSIONS {
        let stage = Stage::new(&[version]);
        let healthy = Healthy::start(&stage);
        // A record of the right form, which was not encrypted.
        let forged = [&[23, 3, 3, 0, 100], &[0xAA; 100][..]].concat();
        let write = move |socket: &mut TcpStream| socket.write_all(&forged).unwrap();
        let (client, server) = interfere(&stage, write);
        stage.run(built_in);
        let why = server.over.expect_failure(ErrorKind::InvalidData);
        assert!(why.contains("cannot decrypt"), "{why}");
        let why = client.over.expect_failure(ErrorKind::InvalidData);
        assert!(why.contains("alert: BadRecordMac"), "{why}");
        assert_eq!(
            server.log.received.get(),
            1000,
            "what came before is read first"
        );
        healthy.expect_undisturbed();
    }
}

#[test]
fn a_peer_that_vanishes_amid_a_record_or_after_one_is_a_truncation() {
    let half_a_record = [&[23, 3, 3, 0, 100], &[0xAA; 50][..]].concat();
    for last in [half_a_record, Vec::new()] {
        let stage = Stage::new(ALL_VERSIONS);
        let healthy = Healthy::start(&stage);
        let vanish = move |socket: &mut TcpStream| {
            socket.write_all(&last).unwrap();
            socket.shutdown(Shutdown::Both).unwrap();
        };
        let (_, server) = interfere(&stage, vanish);
        stage.run(built_in);
        let why = server.over.expect_failure(ErrorKind::UnexpectedEof);
        assert!(why.contains("truncated"), "{why}");
        assert_eq!(
            server.log.received.get(),
            1000,
            "what came before is read first"
        );
        healthy.expect_undisturbed();
    }
}

/// As one does that crashes with bytes unread.
#[test]
fn a_peer_that_resets_the_connection_is_an_error() {
    let stage = Stage::new(ALL_VERSIONS);
    let healthy = Healthy::start(&stage);
    let reset = |socket: &mut TcpStream| rustix::net::connect_unspec(socket).unwrap();
    let (_, server) = interfere(&stage, reset);
    stage.run(built_in);
    server.over.expect_failure(ErrorKind::ConnectionReset);
    healthy.expect_undisturbed();
}

/// The openssl program as the client of a server that sends capitals back.
fn serve_openssl(stage: &Stage, version: &str) -> (Child, Over) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let openssl = Command::new("openssl")
        .args(["s_client", "-quiet", "-no_ign_eof", version])
        .args(["-connect", &address])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the openssl program, which this test needs");

    let (served, ended) = stage.over();
    let (server, weak) = (stage.config.server().unwrap(), stage.reactor.downgrade());
    let mut serve = Some((server, Upper::new(ended)));
    let accept = move |listener: &mut TcpListener, _| {
        let (server, upper) = serve.take().unwrap();
        let session = Session::new(listener.accept().unwrap().0, server).unwrap();
        session.open(&weak.upgrade().unwrap(), upper).unwrap();
        Action::Remove
    };
    stage
        .reactor
        .add_handler(listener, Interest::READABLE, Mode::Level, accept)
        .unwrap();
    (openssl, served)
}

/// Text goes in, capitals come out, and then the end of the text ends it all.
fn openssl_gets_its_text_back(version: &str) {
    let stage = Stage::new(ALL_VERSIONS);
    let reactor = &stage.reactor;
    let (mut openssl, served) = serve_openssl(&stage, version);
    let text: String = (0..20_000).map(|n| format!("line {n}\n")).collect();
    let stdin = openssl.stdin.take().unwrap();
    let flags = fcntl_getfl(&stdin).unwrap();
    fcntl_setfl(&stdin, flags | OFlags::NONBLOCK).unwrap();
    let (bytes, weak) = (text.clone().into_bytes(), reactor.downgrade());
    let mut written = 0;
    let write = move |stdin: &mut ChildStdin, event: Event| {
        written += stdin.write(&bytes[written..]).unwrap();
        if written == bytes.len() {
            let reactor = weak.upgrade().unwrap();
            let paused = reactor.update_handler(event.handler(), Interest::NONE);
            paused.unwrap();
        }
    };
    let writing = reactor
        .add_handler(stdin, Interest::WRITABLE, Mode::Level, write)
        .unwrap();

    let stdout = openssl.stdout.take().unwrap();
    let (all_read, mut ended) = stage.over();
    let (expected, weak) = (text.to_uppercase(), reactor.downgrade());
    let mut answer = Vec::new();
    let read = move |stdout: &mut ChildStdout, _| {
        let mut buffer = [0; 4096];
        let length = stdout.read(&mut buffer).unwrap();
        if length == 0 {
            assert!(answer == expected.as_bytes());
            ended(Ok(()));
            return Action::Remove;
        }
        answer.extend_from_slice(&buffer[..length]);
        if answer.len() == expected.len() {
            // Closes its input.
            let reactor = weak.upgrade().unwrap();
            reactor.remove_handler(writing).unwrap();
        }
        Action::Continue
    };
    reactor
        .add_handler(stdout, Interest::READABLE, Mode::Level, read)
        .unwrap();

    stage.run(built_in);
    served.expect_well();
    all_read.expect_well();
    assert!(openssl.wait().unwrap().success());
}

#[test]
#[ignore = "needs the openssl program; tests/all.sh runs it"]
fn openssl_gets_its_text_back_under_tls_1_2() {
    openssl_gets_its_text_back("-tls1_2");
}

#[test]
#[ignore = "needs the openssl program; tests/all.sh runs it"]
fn openssl_gets_its_text_back_under_tls_1_3() {
    openssl_gets_its_text_back("-tls1_3");
}

/// It is told to by a line with a K: to change its own keys, and to ask the server to.
#[test]
#[ignore = "needs the openssl program; tests/all.sh runs it"]
fn openssl_changes_keys() {
    let stage = Stage::new(ALL_VERSIONS);
    let (mut openssl, served) = serve_openssl(&stage, "-tls1_3");
    let (mut stdin, mut stdout) = (
        openssl.stdin.take().unwrap(),
        openssl.stdout.take().unwrap(),
    );
    let stderr = BufReader::new(openssl.stderr.take().unwrap());
    let talk = thread::spawn(move || {
        let mut says = stderr.lines().map(Result::unwrap);
        let mut answer = [0; 6];
        for round in 0..3 {
            let line = format!("line{round}\n");
            stdin.write_all(line.as_bytes()).unwrap();
            stdout.read_exact(&mut answer).unwrap();
            assert_eq!(answer, *line.to_uppercase().as_bytes());
            stdin.write_all(b"K\n").unwrap();
            // Data that came with it would be lost.
            assert!(says.any(|line| line == "KEYUPDATE"));
        }
    });
    stage.run(built_in);
    served.expect_well();
    talk.join().unwrap();
    assert!(openssl.wait().unwrap().success());
}
