use curl::MultiError;
use curl::easy::{Easy, Easy2, Handler};
use curl::multi::{Easy2Handle, EasyHandle, Message, Multi};

/// What can be transferred: an [`Easy`], or an [`Easy2`] whose handler may go to another thread.
pub trait Request: Attach + Send + 'static {}

impl Request for Easy {}
impl<H: Handler + Send + 'static> Request for Easy2<H> {}

/// What the two kinds of easy handle have in common, while they belong to a multi handle and else.
pub trait Attach: Sized {
    type Attached: 'static;

    fn attach(self, multi: &Multi, token: usize) -> Result<Self::Attached, MultiError>;
    fn detach(multi: &Multi, attached: Self::Attached) -> Result<Self, MultiError>;
    fn result(attached: &Self::Attached, message: &Message) -> Option<Result<(), curl::Error>>;
    fn raw(attached: &Self::Attached) -> *mut curl_sys::CURL;
    fn unpause(attached: &Self::Attached);
}

macro_rules! attach {
    ($attached:ty, $add:ident, $remove:ident, $result:ident) => {
        type Attached = $attached;

        fn attach(self, multi: &Multi, token: usize) -> Result<$attached, MultiError> {
            let mut attached = multi.$add(self)?;
            // Cannot fail: it stores a pointer.
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
            // What goes wrong with the transfer in there is its result.
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
