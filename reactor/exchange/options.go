// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package exchange

// Options configures a Client, and is part of AsyncOptions. nil and the zero value are the defaults.
type Options struct {
	// Backoff is when a request is sent again and when it is given up.
	Backoff Backoff

	// Match says whether reply answers request; both are only its to read, until it returns. A protocol in which
	// requests carry a number compares that. nil takes the first datagram of the peer, which may be the late reply to
	// an earlier request on the same socket: without Match ask once on each.
	Match func(request, reply []byte) bool
}

// resolve returns a copy with the defaults filled in, or what is wrong.
func (o *Options) resolve() (r Options, err error) {
	if o != nil {
		r = *o
	}
	if r.Match == nil {
		r.Match = func(_, _ []byte) bool { return true }
	}
	r.Backoff, err = r.Backoff.resolve()
	return r, err
}
