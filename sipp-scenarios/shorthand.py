"""What the scenarios say shorter than SIPp's own XML does, and what it stands for.

`<request method="INVITE" cseq="2" sdp="sendonly">X: y</request>`
    A request of the caller with more header fields. `sdp` adds a session description and says what it wants: a direction,
    `zero` (0.0.0.0), `alaw` (that codec alone), `moved` (another port). With `by="callee"` it is one of the called side.
    `new` is the first of a dialog; `failed`, on an ACK, is that of an INVITE that was refused; `call="b"` belongs to another call of the same scenario; `uri`, `to` and `length` are
    written as given; an ACK, and anything with `once`, is not sent again.
`<invited>...</invited>`
    Waits for the INVITE of the server and remembers what its answers repeat.
`<answer status="183 Session Progress" sdp="sendrecv">X: y</answer>`
    An answer to that INVITE. `tag` is appended to the tag of the called side.
`<reply status="200 OK" sdp="recvonly">X: y</reply>`
    An answer to the request that came last, in a dialog; `contact` takes the place of its Contact line.
`<has header="Require:" text="timer"/>`, `<has body="a=sendonly"/>`, `<hasnot .../>`, `<keep header="To:" as="peer"/>`
    Inside of a `recv` or `invited`: what the message must or must not hold, and what is remembered as `[$peer]`.
"""

import re
from html import unescape

ATTRIBUTE = re.compile(r'(\w+)="([^"]*)"')
FORM = re.compile(r"<(request|answer|reply)\b([^>]*?)(?:/>|>(.*?)</\1>)", re.S)
INVITED = re.compile(r"<invited\s*(?:/>|>(.*?)</invited>)", re.S)
RECV = re.compile(r"<recv\b((?:[^>]*[^/])?)>(.*?)</recv>", re.S)
HAS = re.compile(r"<(has|hasnot|keep)\b([^>]*)/>")
VARIABLES = ("caller", "callee", "via", "invite")


def expand(text):
    """A scenario as SIPp reads it."""
    return Expansion().run(text)


class Expansion:
    def __init__(self):
        self.versions, self.variables = 0, []

    def run(self, text):
        is_called = INVITED.search(text) is not None
        text = INVITED.sub(self.invited, text)
        text = RECV.sub(self.recv, text)
        text = FORM.sub(self.form, text)
        references = self.variables + (list(VARIABLES) if is_called else [])
        if references:
            text = text.replace("</scenario>", f'  <Reference variables="{",".join(references)}"/>\n</scenario>')
        return text

    def invited(self, match):
        fields = zip(VARIABLES, ("From:", "To:", "Via:", "CSeq:"))
        kept = "".join(f'<ereg regexp=".*" search_in="hdr" header="{name}" assign_to="{variable}"/>\n'
                       for variable, name in fields)
        return f'<recv request="INVITE" rrs="true">\n<action>\n{kept}{self.checks(match[1] or "")}</action>\n</recv>'

    def recv(self, match):
        attributes, inside = match.groups()
        if not HAS.search(inside):
            return match[0]
        other = HAS.sub("", inside.replace("<action>", "").replace("</action>", "")).strip()
        return f"<recv{attributes}>\n<action>\n{other}\n{self.checks(inside)}</action>\n</recv>"

    def checks(self, inside):
        found = []
        for kind, attributes in HAS.findall(inside):
            attributes = dict(ATTRIBUTE.findall(attributes))
            where = f'search_in="hdr" header="{attributes["header"]}"' if "header" in attributes else 'search_in="msg"'
            text = attributes.get("text", attributes.get("body", ".*"))
            self.variables.append(attributes.get("as", f"has{len(self.variables)}"))
            check = "check_it_inverse" if kind == "hasnot" else "check_it"
            found.append(f'<ereg regexp="{text}" {where} {check}="true" assign_to="{self.variables[-1]}"/>\n')
        return "".join(found)

    def form(self, match):
        kind, attributes, inside = match.groups()
        attributes = {name: unescape(value) for name, value in ATTRIBUTE.findall(attributes)}
        more = [unescape(line.strip()) for line in (inside or "").strip().splitlines() if line.strip()]
        lines = getattr(self, kind)(attributes)
        body = self.description(attributes["sdp"].split()) if "sdp" in attributes else []
        lines += more + (["Content-Type: application/sdp"] if body else [])
        given = [it for it in more if it.lower().startswith(("content-length:", "l:"))]
        lines += [] if given else [f"Content-Length: {attributes.get('length', '[len]')}"]
        if "body" in attributes:
            body = attributes["body"].split("|")
        final = kind == "answer" and attributes["status"][0] != "1"
        again = final or kind == "request" and attributes["method"] != "ACK" and "once" not in attributes
        text = "\n".join(lines + [""] + body)
        return f'<send{" retrans=" + chr(34) + "500" + chr(34) if again else ""}>\n<![CDATA[\n\n{text}\n\n]]>\n</send>'

    def request(self, its):
        method, cseq, call = its["method"], its["cseq"], its.get("call", "")
        failed = "failed" in its
        new, by_callee = "new" in its or failed, its.get("by") == "callee"
        target = "sip:[service]@[remote_ip]:[remote_port]"
        tag = f"[pid]-[call_number]{call}"
        to = "To: " + its.get("to", "[last_To:]" if failed else f"<{target}>" + ("" if new else "[peer_tag_param]"))
        to = to.removeprefix("To: ") if "[last_" in to else to
        sides = [f"From: \"Caller\" <sip:caller@[local_ip]:[local_port]>;tag={tag}", to]
        if by_callee:
            sides = ["From:[$callee];tag=[pid]-[call_number]", "To:[$caller]"]
        return [
            f"{method} {its.get('uri', target if new else '[next_url]')} SIP/2.0",
            "Via: SIP/2.0/[transport] [local_ip]:[local_port];"
            f"branch=z9hG4bK-[pid]-[call_number]-{call}{'invite' if failed else method.lower()}{cseq};rport",
            *([] if new or by_callee else ["[routes]"]),
            "Max-Forwards: 70", *sides, f"Call-ID: {call + '///' if call else ''}[call_id]", f"CSeq: {cseq} {method}",
            f"Contact: <sip:{'callee' if by_callee else 'caller'}@[local_ip]:[local_port];transport=[transport]>",
        ]

    def answer(self, its):
        return [
            f"SIP/2.0 {its['status']}", "Via:[$via]", "From:[$caller]",
            f"To:[$callee];tag=[pid]-[call_number]{its.get('tag', '')}", "Call-ID: [call_id]", "CSeq:[$invite]",
            "Contact: <sip:callee@[local_ip]:[local_port];transport=[transport]>",
        ]

    def reply(self, its):
        return [
            f"SIP/2.0 {its['status']}", "[last_Via:]", "[last_From:]", "[last_To:]", "[last_Call-ID:]", "[last_CSeq:]",
            its.get("contact", "Contact: <sip:sipp@[local_ip]:[local_port];transport=[transport]>"),
        ]

    def description(self, wanted):
        self.versions += 1
        direction = next((it for it in wanted if it in ("sendrecv", "sendonly", "recvonly", "inactive")), "sendrecv")
        port = "[media_port+2]" if "moved" in wanted else "[media_port]"
        codecs = ["8"] if "alaw" in wanted else ["0", "8", "101"]
        names = {"0": "PCMU/8000", "8": "PCMA/8000", "101": "telephone-event/8000"}
        return [
            "v=0", f"o=sipp [pid] {self.versions} IN IP[media_ip_type] [media_ip]", "s=-",
            "c=IN IP4 0.0.0.0" if "zero" in wanted else "c=IN IP[media_ip_type] [media_ip]", "t=0 0",
            f"m=audio {port} RTP/AVP {' '.join(codecs)}", *[f"a=rtpmap:{it} {names[it]}" for it in codecs],
            *(["a=fmtp:101 0-16"] if "101" in codecs else []), "a=ptime:20", f"a={direction}",
        ]
