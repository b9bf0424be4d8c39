;;; story.el --- Breaks and mends decks in Emacs, and looks at the buffer with errors after each save -*- lexical-binding: t -*-

;; What is not as it should be goes to $RESULT, with `end' after it.

(load (getenv "PLUGIN"))
(setq clm-program (getenv "CLM"))
(setq clm-options '("--languages" "en"))
(setq make-backup-files nil)

(defvar story-course (getenv "COURSE"))
(defvar story-deck (concat story-course "/slides/m/topic_010_a/slides_a.py"))
(defvar story-other (concat story-course "/slides/m/topic_020_b/slides_b.py"))
(defvar story-wrong nil)

(defun story-expect (wanted found)
  (unless (equal wanted found)
    (push (format "wanted %S, found %S" wanted found) story-wrong)))

(defun story-wait ()
  (let ((begun (float-time)))
    (while (clm-is-building)
      (accept-process-output nil 0.01)
      (when (> (- (float-time) begun) 90)
        (error "The build does not end")))))

(defun story-save ()
  (save-buffer)
  (story-wait))

(defun story-edit (file from to)
  (find-file file)
  (goto-char (point-min))
  (search-forward from)
  (replace-match to t t)
  (save-buffer)
  ;; The save does not wait for the build.
  (story-expect t (clm-is-building))
  (story-wait))

(defun story-lines ()
  "The lines of the buffer with errors, without its title."
  (with-current-buffer "*clm*"
    (cdr (split-string (buffer-string) "\n" t))))

(defun story-places ()
  "Where `next-error' goes, one after the other: a list of (FILE LINE)."
  (let (places)
    (condition-case nil
        (let ((is-first t))
          (while t
            (switch-to-buffer "*scratch*")
            (next-error 1 is-first)
            (setq is-first nil)
            (with-current-buffer (window-buffer)
              (push (list buffer-file-name (line-number-at-pos (window-point))) places))))
      (user-error nil))
    (nreverse places)))

(defun story ()
  (clm-save-mode 1)
  (story-edit story-deck "print('one')" "print('two')")
  (story-expect nil (story-lines))

  (story-edit story-deck "print('two')" "1 / 0")
  (story-expect 1 (length (story-lines)))
  (story-expect (list (list story-deck 9)) (story-places))

  ;; A file that no output depends on, and one that is in no course.
  (find-file (concat story-course "/notes.txt"))
  (insert "notes")
  (story-save)
  (find-file (concat (getenv "RESULT") ".other"))
  (insert "other")
  (story-save)
  (story-expect (list (list story-deck 9)) (story-places))

  ;; Errors of other decks stay until these are mended.
  (story-edit story-other "print('other')" "undefined_name")
  (story-expect (list (list story-deck 9) (list story-other 9)) (story-places))
  (story-edit story-deck "1 / 0" "print('three')")
  (story-expect (list (list story-other 9)) (story-places))
  (find-file story-deck)
  (clm-build)
  (story-wait)
  (story-expect (list (list story-other 9)) (story-places))
  (story-edit story-other "undefined_name" "print('four')")
  (story-expect nil (story-lines))
  (story-expect nil (story-places))

  ;; A warning is one for Emacs, too.
  (story-edit story-other "\"keep\"" "\"keeep\"")
  (with-current-buffer "*clm*"
    (compilation--ensure-parse (point-max))
    (goto-char (point-min))
    (forward-line 1)
    (let ((message (get-text-property (point) 'compilation-message)))
      (story-expect 1 (and message (compilation--message->type message)))))
  (story-edit story-other "\"keeep\"" "\"keep\"")
  (story-expect nil (story-lines))

  (story-edit (concat story-course "/course.xml") "</sections>" "</section>")
  (story-expect (concat story-course "/course.xml") (caar (story-places)))
  (story-edit (concat story-course "/course.xml") "</section></section>" "</section></sections>")
  (story-expect nil (story-lines)))

(condition-case problem
    (story)
  (error (push (error-message-string problem) story-wrong)))
(with-temp-file (getenv "RESULT")
  (insert (mapconcat #'identity (reverse (cons "end" story-wrong)) "\n") "\n"))
