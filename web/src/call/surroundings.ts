// The browser as the call finds it, behind small functions that tests replace.

export interface Browser {
  secure: boolean
  /** The page sits in a frame. */
  framed: boolean
  /** A phone or a tablet, whatever it calls itself. */
  phone: boolean
  devices: MediaDevices | undefined
  /** What the policy of the pages around us says; undefined where the browser does not tell. */
  allowed(feature: 'camera' | 'microphone' | 'display-capture' | 'picture-in-picture' | 'fullscreen'): boolean | undefined
  /** What was decided about a device; undefined where the browser does not tell. */
  permission(device: 'camera' | 'microphone'): Promise<PermissionStatus | undefined>
}

interface PolicyOfPage {
  allowsFeature(name: string): boolean
}

export function thisBrowser(): Browser {
  const doc = document as Document & { permissionsPolicy?: PolicyOfPage; featurePolicy?: PolicyOfPage }
  const policy = doc.permissionsPolicy ?? doc.featurePolicy
  return {
    secure: window.isSecureContext,
    framed: window.parent !== window,
    // An iPad says that it is a Mac, and is the only Mac that can be touched.
    phone: /Android|iPhone|iPad|iPod|Mobile/.test(navigator.userAgent) || (/Mac/.test(navigator.userAgent) && navigator.maxTouchPoints > 1),
    devices: navigator.mediaDevices as MediaDevices | undefined,
    allowed: (feature) => policy?.allowsFeature(feature),
    async permission(device) {
      try {
        return await navigator.permissions.query({ name: device as PermissionName })
      } catch {
        return undefined // this browser does not know the name
      }
    },
  }
}

/** Whether sound can be sent to another loudspeaker than the default one. */
export function canChooseSpeaker(): boolean {
  return 'setSinkId' in HTMLMediaElement.prototype
}
