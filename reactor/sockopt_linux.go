// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package reactor

import (
	"os"

	"github.com/panjf2000/gnet/v2/pkg/socket"
	"golang.org/x/sys/unix"
)

// The options that not all systems have: tcp(7), socket(7).

func setUserTimeout(fd, ms int) error      { return setTCP(fd, unix.TCP_USER_TIMEOUT, ms) }
func setFastOpen(fd, queue int) error      { return setTCP(fd, unix.TCP_FASTOPEN, queue) }
func setDeferAccept(fd, seconds int) error { return setTCP(fd, unix.TCP_DEFER_ACCEPT, seconds) }

func bindToDevice(fd int, name string) error { return socket.SetBindToDevice(fd, name) }

func setTCP(fd, option, value int) error {
	return os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.IPPROTO_TCP, option, value))
}
