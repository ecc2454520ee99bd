// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package reactor

// noSignal is nothing on a system without MSG_NOSIGNAL. Go's runtime ignores SIGPIPE but for standard output and error.
const noSignal = 0
