//! The stable codes of what can go wrong, each with what it means and what to do. The reference is made of them; a
//! test looks that no code is given that does not stand here.

/// What can go wrong.
#[derive(Debug)]
pub struct ErrorCode {
    /// Stable.
    pub name: &'static str,
    /// What it means, and what to do.
    pub doc: &'static str,
}

macro_rules! codes {
    ($($(#[doc = $about:literal])+ $table:ident { $($name:literal $doc:literal)* })*) => {$(
        $(#[doc = $about])+
        pub const $table: &[ErrorCode] = &[$(ErrorCode { name: $name, doc: $doc }),*];
    )*};
}

codes! {
    /// Why a call was not done: what `on_error` and a script's `catch` see as `code`, and what a failed run ends with.
    FAILURES {
        "access_denied" "The platform does not let us: the access token is wrong, or lacks a scope. Check the shop's connection."
        "address_refused" "The address is on a private network. List the host under the shop's `private_hosts` if that is meant."
        "answer_too_large" "The answer is larger than a script may hold. Ask for less."
        "answer_too_long" "The other side's answer is longer than is read."
        "answer_unreadable" "The other side's answer is not what its kind says."
        "approval_timed_out" "Nobody decided in time, and `on_timeout: fail` says that this fails."
        "automatic_message" "The message was not written by a person (`message.automatic` says what it is): answering it could go round in circles."
        "bad_address" "The e-mail address cannot be written to."
        "cancelled" "The run was over before this was done."
        "channel_not_supported" "Messages cannot be sent over the channel that the customer wrote on."
        "declined" "A person said no. Where a rule does not handle it, the run ends as `declined`."
        "denied" "The rule does not list this write under `allow`, or the shop has not granted it to the plugin that asks; the message says which."
        "empty_key" "The rule's `key` gives nothing for this event, so that it has no lane."
        "expression_error" "An expression could not be worked out; the message says where and why."
        "http_status" "The other side answered with a status that says no; `detail` has it and its answer."
        "internal" "A bug in Storehand. Please report it with the log."
        "interrupted" "The run ended while this was under way: nobody has looked what came of it."
        "invalid_answer" "What the model answered is not in the form that was asked for, and nobody gets it."
        "invalid_input" "The capability cannot be asked that: the input does not fit its schema."
        "length" "JSON from the model was not complete when its `max_tokens` were used up. Allow more, or bound its texts with `maxLength`."
        "limit_exceeded" "A script went over its bounds of time, memory or size; the message says which."
        "limited" "Over the rule's own `limits`. The message says which, and how much was used."
        "list_full" "The list in the shop's memory holds as much as it may. Read it and begin anew."
        "mail_login" "The mail server does not let us in. Check user and password in the `mail` of the shop."
        "mail_refused" "The mail server refused the message for good."
        "mail_setup" "The mail server cannot be used as it is configured. Check `mail` of the shop."
        "missing_value" "An expression compares with something that is not known."
        "no_address" "There is nobody to write to: the event has no customer with an address."
        "no_mail" "The shop has no way to send mail. Add `mail` to the shop."
        "no_head" "The shop has no head of this name, or it was trained with another encoder. Train it: `storehand model train`."
        "no_model" "There is no language model or encoder, none of the name that the rule gives, or it failed. Run `storehand model fetch`; `on_violation` acts here as well."
        "no_order" "The event has no order, and none was named."
        "no_platform" "The shop has no connection to its platform. Add it, such as `[shop.NAME.shopify]`."
        "no_secret" "The shop has no secret of this name. Add it under the shop's `secrets`."
        "no_tls" "TLS could not be set up on this machine."
        "not_a_list" "The value in the shop's memory is not a list."
        "not_a_number" "The value in the shop's memory is not a number."
        "not_found" "The shop has no such thing."
        "not_understood" "The platform's answer is not as its documentation says."
        "nothing_to_wait_for" "The event has nothing that the awaited event could be about. Name it: `order_id`, `customer_id`."
        "other_model" "The rule names a model by its digest, and it is another one now; the message has both. `on_violation` acts here as well."
        "plugin_broke" "A plugin broke off, or went over one of its bounds; the message says which. Its maker must mend it."
        "plugin_failed" "A plugin says that it cannot do it, and why."
        "plugin_missing" "The call began with a version of a plugin that cannot be run any more. Install that version again."
        "policy_violation" "The text breaks its policy and was held back; `detail` has it. `on_violation` acts here for a text that was to be written, `on_error` for one that was to be sent."
        "prompt_too_long" "The prompt does not fit into the model's context. The message has both numbers."
        "refused" "The other side refused, and says why in the message."
        "retries_used_up" "All attempts failed; the message has the last one. `storehand runs retry` tries again."
        "script_error" "A script threw an error, or did what cannot be done; the message says where."
        "shop_closed" "The platform has frozen or locked the shop."
        "stuck" "A bug in Storehand: the run waits for nothing."
        "too_many_calls" "A run may make 1,000 calls."
        "too_many_items" "A `for_each` has more items than a run may make calls."
        "unknown_capability" "There is no such capability; a newer release may have had it."
        "unknown_given_up" "Nobody could tell whether it happened, and a person gave it up."
        "version_unreadable" "The version of the rule that the run began with can no longer be read, or was removed."
    }
    /// What the API says in a problem document (RFC 9457) as `code`.
    PROBLEMS {
        "answer_timeout" "504: the answer took too long to make. Ask for less, or again."
        "bad_signature" "401: the delivery's signature is not good. The source's `secrets` must hold the secret that the sender signs with."
        "body_broken_off" "400: the body was cut off."
        "body_timeout" "408: the body took too long to arrive (`server.read_timeout`)."
        "body_too_large" "413: the body is larger than `server.body_limit`."
        "closing" "503: the server is about to end. Send it again after `Retry-After`."
        "conflict" "409: it does not stand as the request supposes; somebody may have been quicker."
        "intake_full" "503: more deliveries wait than `server.intake_queue`. Send it again after `Retry-After`."
        "internal" "500: something failed in here; the log says what."
        "invalid" "422: this cannot be done as asked; `detail` says why."
        "malformed" "400: the delivery cannot be read. Nothing of it was kept."
        "malformed_query" "400: the query of the address cannot be read."
        "malformed_request" "400: the request's body cannot be read."
        "no_such_method" "405: this cannot be done here."
        "no_such_page" "404: there is nothing here."
        "no_such_shop" "404: no shop of this name is configured."
        "no_such_source" "404: the shop has no source of this name."
        "not_found" "404: there is no such rule, run, event or approval in this shop."
        "panic" "500: a bug in Storehand; the log has it. Please report it."
        "several_shops" "400: the events of a delivery, its `ce-shop` header and `?shop=` name different shops."
        "shop_needed" "400: there are several shops: say which, with `?shop=NAME`."
        "source_unable" "503: the plugin that reads this source's deliveries cannot do so just now. Send it again later; the log says why."
        "stale_signature" "401: the signature is too old or from the future. Check the clocks of both machines."
        "store_failed" "503: the delivery could not be kept. Send it again after `Retry-After`; the log says why."
        "token_needed" "401: send `Authorization: Bearer TOKEN`; `storehand token new` makes one."
    }
}
