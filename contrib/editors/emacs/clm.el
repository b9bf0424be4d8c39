;;; clm.el --- Build courses with clm on every save -*- lexical-binding: t -*-

;; Version: 0.1.0
;; Package-Requires: ((emacs "27.1"))
;; Keywords: tools
;; SPDX-License-Identifier: MIT

;;; Commentary:

;; `clm-save-mode' builds what depends on a file whenever that is saved, without blocking, and lists what is wrong in
;; the buffer `*clm*', where `next-error' finds it.  `clm-build' builds the whole course.

;;; Code:

(require 'compile)
(require 'seq)
(require 'subr-x)

(defgroup clm nil
  "Building courses with clm."
  :group 'tools)

(defcustom clm-program "clm"
  "The command."
  :type 'string)

(defcustom clm-spec nil
  "The specification, if it is no `course.xml' above the files."
  :type '(choice (const nil) file)
  :safe #'stringp)

(defcustom clm-options nil
  "Further options of `clm build', such as (\"--fast\")."
  :type '(repeat string))

(defcustom clm-done-hook nil
  "Run after every build, in the buffer `*clm*'."
  :type 'hook)

(defconst clm-error-regexp
  '(clm "^\\(.+?\\):\\([0-9]+\\)\\(?::\\([0-9]+\\)\\)?: \\(?:error\\|\\(warning\\)\\|\\(note\\)\\): "
        1 2 3 (4 . 5))
  "A line of clm, for `compilation-error-regexp-alist-alist'.")

(add-to-list 'compilation-error-regexp-alist-alist clm-error-regexp)

(defvar clm--processes nil
  "Builds that run: a list of (KEY . PROCESS).
KEY is (SPEC . SAVED), where SAVED is nil for the whole course.")

(defvar clm--found nil
  "What is wrong: a list of (KEY . LINE), with the build that found it.")

(define-derived-mode clm-errors-mode compilation-mode "clm"
  "What is wrong with a course."
  (setq-local compilation-error-regexp-alist '(clm))
  (setq-local compilation-error-regexp-alist-alist (list clm-error-regexp)))

(defun clm--spec (file)
  "The specification that FILE belongs to, or nil."
  (if clm-spec
      (file-truename clm-spec)
    (when-let ((dir (locate-dominating-file file "course.xml")))
      (expand-file-name "course.xml" dir))))

(defun clm--file-of (line)
  "The file that LINE is about."
  (when (string-match (nth 1 clm-error-regexp) line)
    (match-string 1 line)))

(defun clm--start (spec saved)
  "Build the course of SPEC, or what depends on the file SAVED."
  (let* ((key (cons spec saved))
         (running (assoc key clm--processes))
         (output (generate-new-buffer " *clm output*"))
         (errors (generate-new-buffer " *clm errors*"))
         ;; The process tells of the end of its error output, too, which is of no interest.
         (error-pipe (make-pipe-process :name "clm errors" :buffer errors :noquery t :sentinel #'ignore)))
    (when running
      ;; What it says is out of date already.
      (setq clm--processes (delq running clm--processes))
      (delete-process (cdr running)))
    (condition-case problem
        (let ((process
               (make-process
                :name "clm"
                :buffer output
                :stderr error-pipe
                :noquery t
                :connection-type 'pipe
                :command (append (list clm-program "build" "--message-format" "short")
                                 clm-options
                                 (when saved (list "--saved" saved))
                                 (list "--" spec))
                :sentinel (lambda (process _event)
                            (unless (process-live-p process)
                              (clm--ended key process output errors error-pipe))))))
          (push (cons key process) clm--processes)
          (when (process-live-p process)
            (process-send-eof process)))
      (error
       (delete-process error-pipe)
       (kill-buffer output)
       (kill-buffer errors)
       (message "clm: %s" (error-message-string problem))))))

(defun clm--ended (key process output errors error-pipe)
  "Take what PROCESS wrote for the build KEY to OUTPUT and ERRORS.
ERROR-PIPE is closed."
  (while (accept-process-output error-pipe 0.05))
  (let ((lines (with-current-buffer output (split-string (buffer-string) "\n" t)))
        (said (with-current-buffer errors (split-string (buffer-string) "\n" t)))
        (is-current (eq process (cdr (assoc key clm--processes)))))
    (delete-process error-pipe)
    (kill-buffer output)
    (kill-buffer errors)
    (when is-current
      (setq clm--processes (assoc-delete-all key clm--processes))
      (clm--done key (process-exit-status process) lines said))))

(defun clm--done (key code lines said)
  "Show what the build KEY wrote as LINES.
CODE and SAID tell why it could not work at all."
  (let* ((saved (cdr key))
         (new (seq-filter #'clm--file-of lines))
         ;; A build tells again all that is wrong with the saved file; a build of the course, all that is wrong.
         (is-old (lambda (found)
                   (if saved
                       (or (equal (car found) key)
                           (equal (clm--file-of (cdr found)) saved)
                           (member (cdr found) new))
                     (equal (caar found) (car key))))))
    (setq clm--found (append (seq-remove is-old clm--found)
                             (mapcar (lambda (line) (cons key line)) new)))
    (clm--show)
    (cond
     ((and (> code 1) (null new))
      (message "clm: %s" (string-remove-prefix "clm: " (or (car lines) (car said) (format "code %d" code)))))
     (clm--found
      (message "clm: errors and warnings: %d (`M-x next-error' goes there)" (length clm--found))))
    (with-current-buffer (clm--buffer)
      (run-hooks 'clm-done-hook))))

(defun clm--buffer ()
  "The buffer with what is wrong."
  (let ((buffer (get-buffer-create "*clm*")))
    (with-current-buffer buffer
      (unless (derived-mode-p 'clm-errors-mode)
        (clm-errors-mode)))
    buffer))

(defun clm--show ()
  "Write what is wrong into the buffer for it."
  (with-current-buffer (clm--buffer)
    (let ((inhibit-read-only t))
      (compilation-forget-errors)
      (erase-buffer)
      ;; `next-error' begins after the first line.
      (insert (if clm--found "What is wrong:\n" "Nothing is wrong\n"))
      (dolist (found clm--found)
        (insert (cdr found) "\n"))
      (goto-char (point-min))
      (setq compilation-current-error nil)
      (set-buffer-modified-p nil))
    (when clm--found
      (setq next-error-last-buffer (current-buffer)))))

(defun clm-is-building ()
  "Whether a build runs."
  (and clm--processes t))

(defun clm--saved ()
  "Build what depends on the file of this buffer."
  (when (and buffer-file-name (not (file-remote-p buffer-file-name)))
    (let* ((file (file-truename buffer-file-name))
           (spec (clm--spec file)))
      (when spec
        (clm--start spec file)))))

;;;###autoload
(define-minor-mode clm-save-mode
  "Build what depends on a file whenever that is saved."
  :global t
  :lighter (:eval (if clm--processes " clm..." " clm"))
  (if clm-save-mode
      (add-hook 'after-save-hook #'clm--saved)
    (remove-hook 'after-save-hook #'clm--saved)))

;;;###autoload
(defun clm-build ()
  "Build the whole course that this buffer belongs to."
  (interactive)
  (let ((spec (clm--spec (or buffer-file-name default-directory))))
    (unless spec
      (user-error "There is no `course.xml' above this file; set `clm-spec'"))
    (clm--start spec nil)))

;;;###autoload
(defun clm-errors ()
  "Show what is wrong."
  (interactive)
  (display-buffer (clm--buffer)))

(provide 'clm)
;;; clm.el ends here
