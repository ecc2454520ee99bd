// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor

import (
	"errors"
	"fmt"
	"os"
)

// The causes that the reactor itself gives. Whatever the operating system says arrives as a *net.OpError, and a
// connection, listener or reactor that is gone answers net.ErrClosed.
var (
	// ErrOverflow is returned by Write and Send when a connection's unsent output has already reached MaxOutput.
	// Nothing of that call was taken and the connection stays as it is.
	ErrOverflow = errors.New("reactor: output limit reached")

	// ErrInputLimit closes a connection whose handler left more than MaxInput bytes unconsumed.
	ErrInputLimit = errors.New("reactor: input limit exceeded")

	// ErrBufferLimit closes the connections that hold most when the whole reactor holds more than MaxBuffered bytes.
	ErrBufferLimit = errors.New("reactor: buffer limit of the reactor exceeded")

	// ErrPeerLimit is why a listener refuses connections of a peer that has MaxPerPeer open. It is found in the log,
	// ListenerStats has the count.
	ErrPeerLimit = errors.New("reactor: connection limit of the peer reached")

	// ErrAcceptRate is why a listener does not accept for a while, when AcceptRate is exceeded. It is found in the
	// log, ListenerStats has the count.
	ErrAcceptRate = errors.New("reactor: accept rate exceeded")

	// ErrMailboxFull is returned by the methods of Ref when the loop has MailboxLimit tasks waiting, and by Group.Write.
	ErrMailboxFull = errors.New("reactor: mailbox full")

	// ErrWriteClosed is returned by Write and Send after CloseWrite.
	ErrWriteClosed = errors.New("reactor: writing half closed")

	// ErrAborted is the cause that Close gets after Abort.
	ErrAborted = errors.New("reactor: connection aborted")

	// ErrHijacked is the cause that Close gets after Hijack.
	ErrHijacked = errors.New("reactor: connection hijacked")

	// ErrUnsent is returned by Hijack while output waits to be sent.
	ErrUnsent = errors.New("reactor: output is unsent")

	// ErrShutdown is the cause that Close gets when Shutdown ended a connection in the middle of its input, or at
	// the end of its patience.
	ErrShutdown = errors.New("reactor: shut down")

	// ErrDialLimit is returned by Dial when MaxDials are in progress.
	ErrDialLimit = errors.New("reactor: dial limit reached")

	// ErrServing is returned by a second Serve.
	ErrServing = errors.New("reactor: already serving")

	// ErrOnLoop is returned by calls that wait for a loop when they are made on one.
	ErrOnLoop = errors.New("reactor: called on a loop, which would wait for itself")

	// ErrIdleTimeout closes a connection on which nothing moved for its idle timeout. It is an os.ErrDeadlineExceeded.
	ErrIdleTimeout error = &timeoutError{"reactor: idle timeout"}

	// ErrWriteTimeout closes a connection whose peer took no output for WriteTimeout, or by its write deadline. It is an
	// os.ErrDeadlineExceeded.
	ErrWriteTimeout error = &timeoutError{"reactor: output made no progress"}

	// ErrReadTimeout closes a connection whose read deadline passed. It is an os.ErrDeadlineExceeded.
	ErrReadTimeout error = &timeoutError{"reactor: nothing received by the read deadline"}

	// ErrFirstByteTimeout closes a connection whose peer said nothing for FirstByteTimeout. It is an
	// os.ErrDeadlineExceeded.
	ErrFirstByteTimeout error = &timeoutError{"reactor: first byte timeout"}

	// ErrFrameTimeout closes a connection whose peer began a frame and did not finish it within FrameTimeout. It is an
	// os.ErrDeadlineExceeded.
	ErrFrameTimeout error = &timeoutError{"reactor: frame timeout"}

	// ErrDialTimeout ends a dial that took longer than Timeout or its context allow. It is an os.ErrDeadlineExceeded.
	ErrDialTimeout error = &timeoutError{"reactor: dial timeout"}

	// ErrGoexit is the value of the *PanicError that Close gets when a handler called runtime.Goexit.
	ErrGoexit = errors.New("runtime.Goexit called by a handler")
)

// timeoutError satisfies net.Error's Timeout, as net's own expiries do.
type timeoutError struct{ text string }

func (e *timeoutError) Error() string { return e.text }
func (e *timeoutError) Timeout() bool { return true }
func (e *timeoutError) Unwrap() error { return os.ErrDeadlineExceeded }

// UnsentError is what Close gets when output that Write or Send had taken was lost.
type UnsentError struct {
	Bytes int64 // how many bytes the kernel had not taken
	Cause error // why they could not be sent
}

func (e *UnsentError) Error() string {
	return fmt.Sprintf("reactor: %d bytes unsent: %v", e.Bytes, e.Cause)
}

// Unwrap returns Cause.
func (e *UnsentError) Unwrap() error { return e.Cause }

// PanicError is what Close gets when a method of the connection's handler, a function given to Ref.Do, or work that
// package offload does for the connection, panicked.
type PanicError struct {
	Value any    // what was passed to panic, or ErrGoexit
	Stack []byte // the stack at that moment, as runtime/debug.Stack formats it
}

func (e *PanicError) Error() string { return fmt.Sprintf("reactor: handler panicked: %v", e.Value) }

// Unwrap returns Value if it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// AbortedError is returned by Shutdown and Serve when connections had to be aborted, because the time given for the
// drain ended first.
type AbortedError struct {
	Conns int   // how many were aborted
	Cause error // the context's error
}

func (e *AbortedError) Error() string {
	return fmt.Sprintf("reactor: %d connections aborted at the end of the drain: %v", e.Conns, e.Cause)
}

// Unwrap returns Cause.
func (e *AbortedError) Unwrap() error { return e.Cause }
