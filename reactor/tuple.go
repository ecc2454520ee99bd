// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor

import (
	"fmt"
	"net/netip"
)

// A FourTuple names a TCP connection: where it ends here and where it ends there. It is comparable, so it can be a
// map's key; IPv4 addresses are always plain IPv4, never mapped into IPv6. The tuple of a unix connection is the zero
// value.
type FourTuple struct {
	Local  netip.AddrPort `json:"local"`
	Remote netip.AddrPort `json:"remote"`
}

// String returns "local<-remote", or "unix" for the zero value.
func (t FourTuple) String() string {
	if t == (FourTuple{}) {
		return "unix"
	}
	return fmt.Sprintf("%v<-%v", t.Local, t.Remote)
}
