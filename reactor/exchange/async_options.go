// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package exchange

import (
	"fmt"

	"github.com/quartet-go/quartet/reactor"
)

// The default and the bound of AsyncOptions.MaxInFlight.
const (
	DefaultMaxInFlight = 1024

	maxInFlight = 1 << 16
)

// AsyncOptions configures an Async. nil and the zero value are the defaults.
type AsyncOptions struct {
	// Options are those of a Client. Match is called on the socket's loop. A datagram that several requests could have
	// as their reply is that of the one asked first.
	Options

	// Key returns the part of a datagram that is the same in a request and its reply, the number that the protocol gives
	// both say, as bytes of the datagram or as others; nil if there is none. Only what has the same key is shown to
	// Match, which may be nil then. Without Key that is everything in flight, one after the other. Key is called on
	// the goroutine of Do for requests, so several calls may run at a time, and on the socket's loop for replies.
	Key func(datagram []byte) []byte

	// MaxInFlight bounds the requests in flight, each of which holds a copy of its payload; Do returns ErrInFlight
	// then. At most 65,536, which is what -1 means; 0 means 1024. Without Match and Key, when replies could not be
	// told apart, it is 1.
	MaxInFlight int

	// Socket are the options of the socket. A reply longer than its MaxDatagram is none.
	Socket reactor.PacketOptions
}

// resolve returns a copy with the defaults filled in, or what is wrong. The reactor looks at Socket.
func (o *AsyncOptions) resolve() (r AsyncOptions, err error) {
	if o != nil {
		r = *o
	}
	most := maxInFlight
	if r.Match == nil && r.Key == nil {
		most = 1
	}
	switch n := r.MaxInFlight; {
	case n == 0:
		r.MaxInFlight = min(DefaultMaxInFlight, most)
	case n == -1:
		r.MaxInFlight = most
	case n < 0 || n > maxInFlight:
		return r, fmt.Errorf("exchange: MaxInFlight is %d, must be -1 to %d", n, maxInFlight)
	case n > most:
		return r, fmt.Errorf("exchange: MaxInFlight is %d, must be 1 without Match and Key", n)
	}
	if r.Key == nil {
		r.Key = func([]byte) []byte { return nil }
	}
	r.Options, err = r.Options.resolve()
	return r, err
}
