//! What can be asked for by HTTP, and who answers it: one table.

use super::exchange::{Answered, Exchange};
use super::response::{Content, Problem, Response};
use super::{access, archive, caller, files, health, listing, metrics, page, upgrade, upload};
use crate::wire::ErrorCode;
use crate::wire::http::{Head, Method};

/// Answers a request. The text is what the path has beyond the route's own, percent-encoded.
type Handler = fn(&mut Exchange<'_>, &str) -> Answered;

/// Something that can be asked for.
#[derive(Debug)]
pub(super) struct Route {
    at: At,
    /// Answers GET and HEAD.
    get: Option<Handler>,
    /// Answers PUT.
    put: Option<Handler>,
    /// What a WebSocket is opened for here.
    upgrade: Option<upgrade::Purpose>,
}

#[derive(Debug)]
enum At {
    Exactly(&'static str),
    Below(&'static str),
}

/// Everything that there is.
const ROUTES: &[Route] = &[
    Route { at: At::Exactly("/"), get: Some(page::answer), put: None, upgrade: Some(upgrade::Purpose::RelayA) },
    Route { at: At::Below("/files/"), get: Some(files::answer), put: Some(upload::answer), upgrade: None },
    Route { at: At::Exactly("/api/list"), get: Some(listing::answer), put: None, upgrade: None },
    Route { at: At::Exactly("/api/server"), get: Some(listing::about), put: None, upgrade: None },
    Route { at: At::Exactly("/api/ticket"), get: Some(caller::ticket), put: None, upgrade: None },
    Route { at: At::Exactly("/api/upload"), get: Some(upload::progress), put: None, upgrade: None },
    Route { at: At::Exactly("/healthz"), get: Some(health::answer), put: None, upgrade: None },
    Route { at: At::Exactly("/metrics"), get: Some(metrics::answer), put: None, upgrade: None },
    Route { at: At::Below("/tar/"), get: Some(archive::answer), put: None, upgrade: None },
    Route { at: At::Exactly("/ws"), get: None, put: None, upgrade: Some(upgrade::Purpose::Events) },
    Route { at: At::Exactly("/receiver"), get: None, put: None, upgrade: Some(upgrade::Purpose::Receiver) },
    Route { at: At::Exactly("/sender"), get: None, put: None, upgrade: Some(upgrade::Purpose::Sender) },
];

/// How a request is dealt with.
#[derive(Debug, Clone, Copy)]
pub(super) enum Dealing<'a> {
    /// This answers it.
    Handler(Handler, &'a str),
    /// It leaves HTTP.
    Upgrade(upgrade::Purpose),
    /// It asks what may be asked.
    Options(Option<&'static Route>),
}

impl Dealing<'_> {
    /// Finds who deals with a request.
    pub(super) fn of(head: &Head) -> Result<Dealing<'_>, Problem> {
        let path = head.target.path();
        if path == "*" {
            return Ok(Dealing::Options(None));
        }
        let found = ROUTES.iter().find_map(|route| Some((route, route.rest_of(path)?)));
        let (route, rest) = found.ok_or_else(|| Problem::new(404, ErrorCode::NotFound, "there is nothing here"))?;
        if head.is_websocket_upgrade()
            && let Some(purpose) = route.upgrade
        {
            return Ok(Dealing::Upgrade(purpose));
        }
        let handler = match head.method {
            Method::Get | Method::Head => route.get,
            Method::Put => route.put,
            Method::Options => return Ok(Dealing::Options(Some(route))),
            Method::Other(_) => None,
        };
        handler.map(|handler| Dealing::Handler(handler, rest)).ok_or_else(|| route.refusal(&head.method))
    }

    /// What it is for, as far as that matters for who may do it.
    pub(super) fn purpose(&self, method: &Method) -> access::Purpose {
        match self {
            Self::Upgrade(_) => access::Purpose::Write,
            Self::Handler(..) if *method == Method::Put => access::Purpose::Write,
            Self::Handler(..) | Self::Options(_) => access::Purpose::Read,
        }
    }
}

impl Route {
    fn rest_of<'a>(&self, path: &'a str) -> Option<&'a str> {
        match self.at {
            At::Exactly(own) => (path == own).then_some(""),
            At::Below(own) => path.strip_prefix(own),
        }
    }

    fn refusal(&self, method: &Method) -> Problem {
        if self.get.is_none() && *method == Method::Get {
            let problem = Problem::new(426, ErrorCode::Protocol, "only WebSocket is spoken here");
            return problem.field("Upgrade", "websocket").field("Connection", "Upgrade");
        }
        Problem::new(405, ErrorCode::Protocol, "this cannot be done here").field("Allow", self.methods())
    }

    fn methods(&self) -> String {
        let get = if self.get.is_some() {
            "GET, HEAD, "
        } else if self.upgrade.is_some() {
            "GET, "
        } else {
            ""
        };
        let put = if self.put.is_some() { "PUT, " } else { "" };
        format!("{get}{put}OPTIONS")
    }
}

/// Answers OPTIONS: what may be asked, and to a browser's preflight who may.
pub(super) fn options(exchange: &mut Exchange<'_>, route: Option<&Route>, origin: Option<&str>) -> Answered {
    let methods = route.map_or_else(|| "GET, HEAD, PUT, OPTIONS".into(), Route::methods);
    let mut response = Response::new(204).field("Allow", methods);
    if origin.is_some() && exchange.head.fields.first("access-control-request-method").is_some() {
        response = access::mark_preflight(response);
    }
    Ok(exchange.respond_head(response, Content::None)?)
}
