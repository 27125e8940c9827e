//! Bodies of the platform's requests and answers.

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::unfold;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;

use super::super::{BindingError, ByteSource};
use super::fetch::CancelOnDrop;
use super::thrown;

const OPERATION: &str = "reading a body";

/// What has a body: a request or an answer.
pub(super) enum Carrier {
    Request(web_sys::Request),
    Response { response: web_sys::Response, _cancel: CancelOnDrop },
}

/// A body that has not been read, or only in part.
pub(super) struct PlatformBody {
    carrier: Carrier,
    stream: web_sys::ReadableStream,
    reader: Option<web_sys::ReadableStreamDefaultReader>,
}

impl PlatformBody {
    /// The carrier's body, when it has one.
    pub(super) fn of(carrier: Carrier) -> Option<Box<dyn ByteSource>> {
        let stream = match &carrier {
            Carrier::Request(request) => request.body(),
            Carrier::Response { response, .. } => response.body(),
        };
        stream.map(|stream| Box::new(Self { carrier, stream, reader: None }) as Box<dyn ByteSource>)
    }

    async fn read_whole(&self) -> Result<Vec<u8>, JsValue> {
        let promise = match &self.carrier {
            Carrier::Request(request) => request.array_buffer()?,
            Carrier::Response { response, .. } => response.array_buffer()?,
        };
        let buffer = JsFuture::from(promise).await?;
        Ok(js_sys::Uint8Array::new(&buffer).to_vec())
    }

    async fn read_chunk(&mut self) -> Result<Option<Vec<u8>>, JsValue> {
        let reader = match &self.reader {
            Some(reader) => reader,
            None => {
                let reader = self.stream.get_reader().dyn_into()?;
                self.reader.insert(reader)
            }
        };
        let read = JsFuture::from(reader.read()).await?;
        let done = js_sys::Reflect::get(&read, &"done".into())?.is_truthy();
        if done {
            return Ok(None);
        }
        let chunk: js_sys::Uint8Array = js_sys::Reflect::get(&read, &"value".into())?.dyn_into()?;
        Ok(Some(chunk.to_vec()))
    }
}

impl ByteSource for PlatformBody {
    fn whole(&mut self) -> LocalBoxFuture<'_, Result<Vec<u8>, BindingError>> {
        async move { self.read_whole().await.map_err(|error| thrown(OPERATION, &error)) }.boxed_local()
    }

    fn next_chunk(&mut self) -> LocalBoxFuture<'_, Result<Option<Vec<u8>>, BindingError>> {
        async move { self.read_chunk().await.map_err(|error| thrown(OPERATION, &error)) }.boxed_local()
    }
}

/// The platform's stream of what `source` gives. Cancelling it drops the source.
pub(super) fn readable(source: Box<dyn ByteSource>) -> web_sys::ReadableStream {
    let chunks = unfold(source, |mut source| async move {
        match source.next_chunk().await {
            Ok(Some(chunk)) => Some((Ok(js_sys::Uint8Array::from(chunk.as_slice()).into()), source)),
            Ok(None) => None,
            Err(error) => Some((Err(js_sys::Error::new(&error.to_string()).into()), source)),
        }
    });
    wasm_streams::ReadableStream::from_stream(chunks).into_raw()
}
