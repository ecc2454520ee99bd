// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main

import "github.com/miekg/dns"

const (
	headerSize = 12 // bytes (RFC 1035, section 4.1.1)

	// maxUDP is the size in bytes of the longest response over UDP, whatever the client would take: longer ones may
	// travel in fragments, which get lost and can be forged (the value is that of the DNS flag day 2020). It bounds
	// what a forged sender's address can have sent to somebody else, too.
	maxUDP = 1232
)

// answer returns the response to a message, or nil if there is none: responses are not responded to, or two servers
// could go on for ever. The response is packed into buf if it fits there, which may be the memory of the message.
func (z *zones) answer(message, buf []byte, udp bool) []byte {
	const qr = 0x80 // of the third byte
	if len(message) < headerSize || message[2]&qr != 0 {
		return nil
	}
	var query dns.Msg
	err := query.Unpack(message) // on an error the header is there all the same
	response := z.respond(&query, err != nil)
	size := dns.MaxMsgSize
	if udp {
		size = dns.MinMsgSize
		if opt := query.IsEdns0(); opt != nil {
			size = min(int(opt.UDPSize()), maxUDP) // below 512 counts as 512
		}
	}
	response.Truncate(size)
	packed, err := response.PackBuffer(buf)
	if err != nil {
		return nil // a question that can be unpacked and not packed again
	}
	return packed
}

// respond makes the response to a query.
func (z *zones) respond(query *dns.Msg, malformed bool) *dns.Msg {
	r := new(dns.Msg).SetReply(query)
	opts := 0
	for _, rr := range query.Extra {
		if opt, ok := rr.(*dns.OPT); ok {
			opts++
			r.Extra = nil
			r.SetEdns0(maxUDP, opt.Do())
			if opt.Version() > 0 {
				r.Rcode = dns.RcodeBadVers
			}
		}
	}
	switch {
	case query.Opcode != dns.OpcodeQuery:
		r.Rcode = dns.RcodeNotImplemented
	case malformed || len(query.Question) != 1 || opts > 1:
		r.Rcode = dns.RcodeFormatError
	case r.Rcode == dns.RcodeSuccess:
		z.lookUp(query.Question[0], r)
	}
	return r
}

// lookUp fills in the answer to a question.
func (z *zones) lookUp(q dns.Question, r *dns.Msg) {
	name := dns.CanonicalName(q.Name)
	apex, ours := z.apex(name)
	if !ours || q.Qclass != dns.ClassINET || q.Qtype == dns.TypeAXFR || q.Qtype == dns.TypeIXFR {
		r.Rcode = dns.RcodeRefused
		return
	}
	r.Authoritative = true
	types, exists := z.names[name]
	switch {
	case !exists:
		r.Rcode = dns.RcodeNameError
	case q.Qtype == dns.TypeANY: // everything at once serves nobody but those who flood (RFC 8482)
		header := dns.RR_Header{Name: q.Name, Rrtype: dns.TypeHINFO, Class: dns.ClassINET, Ttl: 3600}
		r.Answer = []dns.RR{&dns.HINFO{Hdr: header, Cpu: "RFC8482"}}
	default:
		r.Answer = types[q.Qtype]
	}
	if len(r.Answer) == 0 {
		r.Ns = []dns.RR{z.soa[apex]}
	}
}
