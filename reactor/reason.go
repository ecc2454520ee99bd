// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"

	"github.com/quartet-go/quartet/codec"
	"golang.org/x/sys/unix"
)

// A CloseReason is the kind of error that a handler's Close got. More may be added.
type CloseReason uint8

// The reasons, by what Close got.
const (
	CloseLocal        CloseReason = iota // nil: closed here, every byte was taken by the kernel
	ClosePeer                            // io.EOF: the peer ended cleanly
	CloseTruncated                       // io.ErrUnexpectedEOF: the peer ended inside a message
	CloseReset                           // the peer reset the connection, or was gone when written to
	CloseSocket                          // another error of the socket
	CloseIdleTimeout                     // ErrIdleTimeout
	CloseWriteTimeout                    // ErrWriteTimeout
	CloseDeadline                        // another os.ErrDeadlineExceeded
	CloseInputLimit                      // ErrInputLimit
	CloseBufferLimit                     // ErrBufferLimit
	CloseFrame                           // a frame that was too long or malformed
	CloseAborted                         // ErrAborted
	CloseShutdown                        // ErrShutdown
	ClosePanic                           // *PanicError
	CloseHijacked                        // ErrHijacked: the connection goes on elsewhere
	CloseHandler                         // another error that the handler returned

	closeReasons
)

var closeReasonNames = [closeReasons]string{
	"local", "peer", "truncated", "reset", "socket", "idle_timeout", "write_timeout", "deadline", "input_limit", "buffer_limit",
	"frame", "aborted", "shutdown", "panic", "hijacked", "handler",
}

// String returns a name of lower-case words joined by underscores.
func (r CloseReason) String() string {
	if r < closeReasons {
		return closeReasonNames[r]
	}
	return "unknown"
}

// CloseCounts counts closes by CloseReason, which is the index. As JSON it is an object with the reasons' names.
type CloseCounts [closeReasons]uint64

// MarshalJSON is part of json.Marshaler.
func (n CloseCounts) MarshalJSON() ([]byte, error) {
	named := make(map[string]uint64, closeReasons)
	for reason, count := range n {
		named[CloseReason(reason).String()] = count
	}
	return json.Marshal(named)
}

// UnmarshalJSON is part of json.Unmarshaler. Names that it does not know are left out.
func (n *CloseCounts) UnmarshalJSON(text []byte) error {
	var named map[string]uint64
	err := json.Unmarshal(text, &named)
	for reason := range n {
		n[reason] = named[closeReasonNames[reason]]
	}
	return err
}

// closeReasonsByError is searched in this order: what the reactor decided comes before what that led to.
var closeReasonsByError = []struct {
	err    error
	reason CloseReason
}{
	{ErrIdleTimeout, CloseIdleTimeout},
	{ErrWriteTimeout, CloseWriteTimeout},
	{ErrInputLimit, CloseInputLimit},
	{ErrBufferLimit, CloseBufferLimit},
	{ErrShutdown, CloseShutdown},
	{ErrAborted, CloseAborted},
	{ErrHijacked, CloseHijacked},
	{os.ErrDeadlineExceeded, CloseDeadline},
	{io.ErrUnexpectedEOF, CloseTruncated},
	{unix.ECONNRESET, CloseReset},
	{unix.EPIPE, CloseReset},
	{io.EOF, ClosePeer},
}

// closeReason sorts what Close gets.
func closeReason(err error) CloseReason {
	switch err {
	case nil:
		return CloseLocal
	case io.EOF:
		return ClosePeer
	}
	if is[*PanicError](err) {
		return ClosePanic
	}
	for _, known := range closeReasonsByError {
		if errors.Is(err, known.err) {
			return known.reason
		}
	}
	switch {
	case frameFault(err) < faultOther:
		return CloseFrame
	case is[*net.OpError](err):
		return CloseSocket
	}
	return CloseHandler
}

// is says whether err is a T or wraps one.
func is[T error](err error) bool {
	var target T
	return errors.As(err, &target)
}

// A fault is what was wrong with a frame.
type fault uint8

const (
	faultTooLong fault = iota
	faultMalformed
	faultOther // an error of a decoder that is none of package codec's
)

func frameFault(err error) fault {
	switch {
	case is[*codec.TooLongError](err):
		return faultTooLong
	case is[*codec.MalformedError](err):
		return faultMalformed
	}
	return faultOther
}
