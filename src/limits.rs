//! Every bound of the program, on one page, with its unit last in its name. What happens at a bound is told by the doc
//! comment of the type that is bounded; a metric counts it.

// --- sip, sdp ---

// --- transport, transaction, dialog, call ---

// --- rtp, media ---

// --- agent, pathway ---

// --- speech and other providers ---

// --- journal, http, configuration ---

// --- server ---
