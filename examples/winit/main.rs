//! A window of winit, whose loop drives a reactor: a TCP service of raw callbacks, a timer and a client, which is a
//! task of tokio's, draw a bar each. All of it is on one thread.
//!
//! winit watches no descriptors, so its loop is woken for the reactor (`WakeHost`).

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroU32;
use std::rc::Rc;
use std::time::Duration;

use oneloop::{Action, Interest, Local, LocalReactor, Mode, Reactor, WakeHost};
use oneloop_tokio::TokioGuest;
use softbuffer::{Context, Surface};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use winit::application::ApplicationHandler;
use winit::dpi::PhysicalSize;
use winit::event::WindowEvent;
use winit::event_loop::{ActiveEventLoop, EventLoop};
use winit::window::{Window, WindowId};

const HELP: &str = "\
Usage: winit_window [--seconds N]

Shows a window, until it is closed, the standard input ends, or after N seconds.";

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let seconds = match &*arguments {
        [] => None,
        [option, seconds] if option == "--seconds" => Some(seconds.parse()?),
        _ => {
            println!("{HELP}");
            return Ok(());
        }
    };

    let (reactor, shown) = (Reactor::new_local()?, Rc::new(Shown::default()));
    let address = serve(&reactor, &shown)?;
    let ticks = shown.clone();
    reactor.call_every(Duration::from_millis(10), move || ticks.add(TIMER))?;
    let tokio = TokioGuest::new(&reactor)?;
    let client = ask(address, shown.clone());
    tokio.spawn_local(async {
        if let Err(error) = client.await {
            eprintln!("{error}");
        }
    });
    stop_at_end_of_input(&reactor)?;
    if let Some(seconds) = seconds {
        let stopper = reactor.clone();
        reactor.call_later(Duration::from_secs(seconds), move || stopper.stop())?;
    }

    let events = EventLoop::<Step>::with_user_event().build()?;
    let proxy = events.create_proxy();
    // A loop that is gone needs no wake.
    let wake = move || _ = proxy.send_event(Step);
    let mut program = Program {
        host: reactor.host("winit")?.wake_by(wake)?,
        shown,
        window: None,
        failed: None,
    };
    events.run_app(&mut program)?;
    program.failed.map_or(Ok(()), Err)
}

/// The event of winit's by which its loop learns that the reactor has something to do.
struct Step;

struct Program {
    host: WakeHost<Local>,
    shown: Rc<Shown>,
    /// Made when winit's loop runs.
    window: Option<Surface<Rc<Window>, Rc<Window>>>,
    failed: Option<Box<dyn Error>>,
}

impl ApplicationHandler<Step> for Program {
    fn resumed(&mut self, events: &ActiveEventLoop) {
        let opened = self.open(events);
        self.end_if(events, opened);
        // The first one. The reactor asks for all others.
        self.user_event(events, Step);
    }

    fn user_event(&mut self, events: &ActiveEventLoop, _: Step) {
        let stepped = self.step();
        self.end_if(events, stepped);
    }

    fn window_event(&mut self, events: &ActiveEventLoop, _: WindowId, event: WindowEvent) {
        match event {
            WindowEvent::CloseRequested => events.exit(),
            WindowEvent::RedrawRequested => {
                let drawn = self.draw().map(|()| false);
                self.end_if(events, drawn);
            }
            _ => {}
        }
    }
}

impl Program {
    /// Ends winit's loop if `is_over` says so, or is an error.
    fn end_if(&mut self, events: &ActiveEventLoop, is_over: Result<bool>) {
        match is_over {
            Ok(false) => return,
            Ok(true) => {}
            Err(error) => self.failed = Some(error),
        }
        events.exit();
    }

    fn open(&mut self, events: &ActiveEventLoop) -> Result<bool> {
        let attributes = Window::default_attributes()
            .with_title("One thread")
            .with_inner_size(PhysicalSize::new(480, 300));
        let window = Rc::new(events.create_window(attributes)?);
        let context = Context::new(window.clone())?;
        self.window = Some(Surface::new(&context, window)?);
        Ok(false)
    }

    /// Calls the reactor's callbacks. Returns true if it was stopped.
    fn step(&mut self) -> Result<bool> {
        let is_over = self.host.step(100)?.is_break();
        if let Some(surface) = &self.window {
            if self.shown.is_new.take() {
                surface.window().request_redraw();
            }
        }
        Ok(is_over)
    }

    fn draw(&mut self) -> Result<()> {
        let Some(surface) = &mut self.window else {
            return Ok(());
        };
        let size = surface.window().inner_size();
        let (Some(width), Some(height)) =
            (NonZeroU32::new(size.width), NonZeroU32::new(size.height))
        else {
            return Ok(());
        };
        surface.resize(width, height)?;
        let mut pixels = surface.buffer_mut()?;
        let counts = self.shown.counts.borrow();
        let rows = pixels.chunks_mut(size.width as usize);
        for (y, row) in rows.enumerate() {
            let bar = y * BARS.len() / size.height as usize;
            let (filled, rest) = row.split_at_mut(size.width as usize * counts[bar] / ENOUGH);
            filled.fill(BARS[bar]);
            rest.fill(0xffffff);
        }
        pixels.present()?;
        let is_complete = counts.iter().all(|count| *count == ENOUGH);
        drop(counts);
        self.shown.tell_if(is_complete);
        Ok(())
    }
}

/// The bars, from top to bottom.
const SERVICE: usize = 0;
const TIMER: usize = 1;
const TASK: usize = 2;
const BARS: [u32; 3] = [0xe02030, 0x20c040, 0x4020f0];

/// The count at which a bar is full.
const ENOUGH: usize = 100;

/// The picture of the window.
#[derive(Default)]
struct Shown {
    counts: RefCell<[usize; 3]>,
    is_new: Cell<bool>,
    /// Drawn frames in which all is complete.
    complete: Cell<u32>,
}

impl Shown {
    fn add(&self, bar: usize) {
        let count = &mut self.counts.borrow_mut()[bar];
        *count = (*count + 1).min(ENOUGH);
        self.is_new.set(true);
    }

    /// Prints that all is drawn. The frame before has reached the screen by then.
    fn tell_if(&self, is_complete: bool) {
        if is_complete {
            self.complete.set(self.complete.get() + 1);
            if self.complete.get() == 10 {
                println!("complete");
            }
        }
    }
}

/// The service: callbacks on descriptors, which answer each byte.
fn serve(reactor: &LocalReactor, shown: &Rc<Shown>) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let (clients, shown) = (reactor.downgrade(), shown.clone());
    let accept = move |listener: &mut TcpListener, _| -> io::Result<()> {
        let (client, _) = listener.accept()?;
        let shown = shown.clone();
        let answer = move |client: &mut TcpStream, _| -> io::Result<Action> {
            let mut bytes = [0; 64];
            let length = client.read(&mut bytes)?;
            client.write_all(&bytes[..length])?;
            shown.add(SERVICE);
            Ok(if length == 0 {
                Action::Remove
            } else {
                Action::Continue
            })
        };
        if let Some(reactor) = clients.upgrade() {
            reactor
                .add_handler(client, Interest::READABLE, Mode::Level, answer)
                .map_err(oneloop::Error::from)?;
        }
        Ok(())
    };
    reactor
        .add_handler(listener, Interest::READABLE, Mode::Level, accept)
        .map_err(oneloop::Error::from)?;
    Ok(address)
}

/// The client: a task on tokio's sockets and timers.
async fn ask(address: SocketAddr, shown: Rc<Shown>) -> io::Result<()> {
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    loop {
        stream.write_all(b"?").await?;
        stream.read_u8().await?;
        shown.add(TASK);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn stop_at_end_of_input(reactor: &LocalReactor) -> Result<()> {
    let stopper = reactor.downgrade();
    let read = move |_| -> io::Result<Action> {
        if io::stdin().read(&mut [0; 64])? > 0 {
            return Ok(Action::Continue);
        }
        if let Some(reactor) = stopper.upgrade() {
            reactor.stop();
        }
        Ok(Action::Remove)
    };
    // SAFETY: the standard input stays open.
    unsafe { reactor.add_raw_handler(0, Interest::READABLE, Mode::Level, read)? };
    Ok(())
}
