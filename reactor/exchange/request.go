// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package exchange

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"syscall"
	"time"
)

// A request is what is known of one while its reply is awaited. It has the rules and neither socket nor clock: whoever
// moves the bytes
//
//	begins a try with next, sends the payload, and waits as long as next said;
//	asks answeredBy about each datagram of the peer, and unsent or unheard about each error;
//	ends with the first error that one of them returns.
type request struct {
	opts    *Options
	peer    net.Addr
	payload []byte

	tries  int
	waited time.Duration
	last   error // of the socket
}

// next begins another try and says how long it waits, or returns the *NoReplyError.
func (q *request) next() (time.Duration, error) {
	wait, ok := q.opts.Backoff.Wait(q.tries, rand.Float64())
	if !ok {
		return 0, &NoReplyError{Peer: q.peer, Tries: q.tries, Waited: q.waited, Last: q.last}
	}
	q.tries++
	q.waited += wait
	return wait, nil
}

// answeredBy says whether a datagram of the peer is the reply.
func (q *request) answeredBy(p []byte) bool { return q.opts.Match(q.payload, p) }

// unsent returns the request's end if sending failed for a reason that no other try can mend.
func (q *request) unsent(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) || slices.ContainsFunc(passing, func(e syscall.Errno) bool { return errors.Is(err, e) }) {
		return nil
	}
	return q.ended(err)
}

// passing are the reasons for which a datagram may not be sent now and be sent by the next try: full queues (of which
// the deadline of a write that blocks is one), routes that come and go, and what ICMP told (icmp(7), udp(7)).
var passing = []syscall.Errno{
	syscall.EAGAIN, syscall.ENOBUFS, syscall.ENETUNREACH, syscall.ENETDOWN, syscall.EHOSTUNREACH, syscall.EHOSTDOWN, syscall.ECONNREFUSED,
}

// unheard returns the request's end if receiving failed for good. What the system says there is what became of
// datagrams sent before, and passes: too long for a link on the way, the next try is sent in fragments (RFC 1191).
func (q *request) unheard(err error) error {
	if _, ok := errors.AsType[syscall.Errno](err); ok {
		return nil
	}
	return q.ended(err)
}

// ended returns the end by an error of the socket.
func (q *request) ended(err error) error {
	return fmt.Errorf("exchange: request of %d bytes to %v: %w", len(q.payload), q.peer, err)
}

// abandoned returns the end of a request for which nobody waits any more.
func (q *request) abandoned(cause error) error {
	err := fmt.Errorf("exchange: no reply from %v to %d tries: %w", q.peer, q.tries, cause)
	if q.last != nil {
		err = fmt.Errorf("%w (%w)", err, q.last)
	}
	return err
}
