use curl::MultiError;
use curl::easy::{Easy, Easy2, Handler};
use curl::multi::{Easy2Handle, EasyHandle, Message, Multi};

/// A request that can be transferred: an [`Easy`], or an [`Easy2`] whose handler may go to another thread.
pub trait Request: Attach + Send + 'static {}

impl Request for Easy {}
impl<H: Handler + Send + 'static> Request for Easy2<H> {}

/// The operations that both kinds of easy handle share, inside a multi handle and outside.
pub trait Attach: Sized {
    type Attached: 'static;

    fn connect_only(&mut self) -> Result<(), curl::Error>;
    fn attach(self, multi: &Multi, token: usize) -> Result<Self::Attached, MultiError>;
    fn detach(multi: &Multi, attached: Self::Attached) -> Result<Self, MultiError>;
    fn result(attached: &Self::Attached, message: &Message) -> Option<Result<(), curl::Error>>;
    fn raw(attached: &Self::Attached) -> *mut curl_sys::CURL;
    fn unpause(attached: &Self::Attached);
}

macro_rules! attach {
    ($attached:ty, $add:ident, $remove:ident, $result:ident) => {
        type Attached = $attached;

        fn connect_only(&mut self) -> Result<(), curl::Error> {
            self.connect_only(true)
        }

        fn attach(self, multi: &Multi, token: usize) -> Result<$attached, MultiError> {
            let mut attached = multi.$add(self)?;
            // This cannot fail, because it stores a pointer.
            let _ = attached.set_token(token);
            Ok(attached)
        }

        fn detach(multi: &Multi, attached: $attached) -> Result<Self, MultiError> {
            multi.$remove(attached)
        }

        fn result(attached: &$attached, message: &Message) -> Option<Result<(), curl::Error>> {
            message.$result(attached)
        }

        fn raw(attached: &$attached) -> *mut curl_sys::CURL {
            attached.raw()
        }

        fn unpause(attached: &$attached) {
            // An error of the transfer inside is the transfer's result.
            let _ = attached.unpause_read();
            let _ = attached.unpause_write();
        }
    };
}

impl Attach for Easy {
    attach!(EasyHandle, add, remove, result_for);
}

impl<H: Handler + Send + 'static> Attach for Easy2<H> {
    attach!(Easy2Handle<H>, add2, remove2, result_for2);
}
