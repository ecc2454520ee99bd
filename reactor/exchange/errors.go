// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package exchange

import (
	"errors"
	"fmt"
	"net"
	"os"
	"time"
)

// ErrInFlight is returned by Async.Do when AsyncOptions.MaxInFlight requests are in flight.
var ErrInFlight = errors.New("exchange: limit of requests in flight reached")

// A NoReplyError is the end of a request that was given up: every try has waited for its reply. It is an
// os.ErrDeadlineExceeded, and Last too.
type NoReplyError struct {
	Peer   net.Addr
	Tries  int
	Waited time.Duration // by all tries together
	Last   error         // what the socket told last, an ECONNREFUSED for one; nil after nothing but silence
}

func (e *NoReplyError) Error() string {
	text := fmt.Sprintf("exchange: no reply from %v to %d tries in %v: the server may be down", e.Peer, e.Tries, e.Waited)
	if e.Last != nil {
		text += fmt.Sprintf(" (%v)", e.Last)
	}
	return text
}

// Timeout is true.
func (e *NoReplyError) Timeout() bool { return true }

// Unwrap returns os.ErrDeadlineExceeded and, unless it is nil, Last.
func (e *NoReplyError) Unwrap() []error {
	if e.Last == nil {
		return []error{os.ErrDeadlineExceeded}
	}
	return []error{os.ErrDeadlineExceeded, e.Last}
}
