// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor

import "fmt"

// String says in a few words what happened, without when and to whom: "read 64 bytes, with room for 65536".
func (e *TraceEvent) String() string {
	switch e.Kind {
	case TraceReady:
		return "reported " + hintNames(e.N)
	case TraceTurn:
		return "woken up"
	case TraceSource:
		return "listening or datagram socket reported"
	case TraceTask:
		return "task"
	case TraceTimer:
		return "deadline"
	case TraceAccept:
		return "accepted"
	case TraceOpen:
		return "opened"
	case TraceData:
		return fmt.Sprintf("handler consumed %d of %v", e.N, octets(e.Of))
	case TraceFrame:
		return fmt.Sprintf("handler took a frame of %v, payload %d", octets(e.Of), e.N)
	case TraceClose:
		if e.Of > 0 {
			return fmt.Sprintf("closed: %v, %v unsent", CloseReason(e.N), octets(e.Of))
		}
		return "closed: " + CloseReason(e.N).String()
	case TraceRefuse:
		return "refused"
	case TraceRead:
		return fmt.Sprintf("read %v, with room for %d", octets(e.N), e.Of)
	case TraceReadAgain:
		return "nothing to read (EAGAIN)"
	case TracePartial:
		return fmt.Sprintf("partial frame: %v, %d needed", octets(e.N), e.Of)
	case TraceWrite:
		return fmt.Sprintf("wrote %d of %v", e.N, octets(e.Of))
	case TraceWriteAgain:
		return fmt.Sprintf("wrote none of %v (EAGAIN)", octets(e.Of))
	case TraceInterest:
		return fmt.Sprintf("watched for %v, before: %v", interest(e.N), interest(e.Of))
	case TraceStopped:
		return fmt.Sprintf("reading stops: %v, %v unsent", StopReason(e.N), octets(e.Of))
	case TraceResumed:
		return fmt.Sprintf("reading goes on, no longer %v", StopReason(e.N))
	case TraceEOF:
		return fmt.Sprintf("the peer has ended, %v unconsumed", octets(e.N))
	case TraceShut:
		return "writing half shut down"
	case TraceDatagrams:
		return fmt.Sprintf("received %d of at most %d datagrams", e.N, e.Of)
	case TraceGap:
		return "too much at once: only what lasts was recorded"
	}
	return e.Kind.String()
}

// octets is a number of bytes.
type octets int

func (n octets) String() string {
	if n == 1 {
		return "1 byte"
	}
	return fmt.Sprintf("%d bytes", int(n))
}

// hintNames names the parts of N in a TraceReady event.
func hintNames(n int) (names string) {
	for i, name := range [...]string{"readable", "writable", "in error or hung up"} {
		switch {
		case n&(1<<i) == 0:
		case names == "":
			names = name
		default:
			names += " and " + name
		}
	}
	return names
}

// String is for traces.
func (i interest) String() string {
	return [...]string{"nothing", "hang-ups", "input", "room", "input and room"}[i]
}
